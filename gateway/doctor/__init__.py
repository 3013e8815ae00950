"""Looking for what is wrong with the box, the configuration and its surroundings. Changes nothing, shows no secrets."""
