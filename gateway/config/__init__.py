"""The configuration: YAML in, typed structs or every problem at once out."""

from gateway.config.load import Loaded, extended, load, load_checked
from gateway.config.model import GatewayConfig, PipelineConfig

__all__ = ["GatewayConfig", "Loaded", "PipelineConfig", "extended", "load", "load_checked"]
