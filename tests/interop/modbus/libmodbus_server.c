/* A libmodbus server for the interop test: TCP on a free port (printed), or RTU on a serial device.
 *
 *   libmodbus_server tcp
 *   libmodbus_server rtu /dev/pts/3
 *
 * Registers and bits 0 to 199 exist; all else is refused. Floats are laid out here, word by word:
 * modbus_set_float_abcd and its sisters of libmodbus 3.1.6 mean the bytes of the host, not of the wire.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <modbus.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static uint16_t swapped(uint32_t word)
{
    return (uint16_t) ((word & 0xFF) << 8 | (word >> 8 & 0xFF));
}

static uint32_t bits_of(float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

static void fill(modbus_mapping_t *map)
{
    const int32_t small = -123456; /* variables, since the macros narrow on purpose */
    const int64_t large = -1234567890123LL;
    int i;

    for (i = 0; i < 200; i++) {
        map->tab_registers[i] = (uint16_t) i;
        map->tab_input_registers[i] = (uint16_t) (1000 + i);
        map->tab_bits[i] = i % 3 == 0;
        map->tab_input_bits[i] = i % 2;
    }
    map->tab_registers[100] = bits_of(230.5f) >> 16; /* ABCD */
    map->tab_registers[101] = bits_of(230.5f) & 0xFFFF;
    map->tab_registers[102] = bits_of(-12.25f) & 0xFFFF; /* CDAB */
    map->tab_registers[103] = bits_of(-12.25f) >> 16;
    map->tab_registers[104] = swapped(bits_of(50.0625f) >> 16); /* BADC */
    map->tab_registers[105] = swapped(bits_of(50.0625f));
    map->tab_registers[106] = swapped(bits_of(1e-3f)); /* DCBA */
    map->tab_registers[107] = swapped(bits_of(1e-3f) >> 16);
    MODBUS_SET_INT32_TO_INT16(map->tab_registers, 108, small);
    MODBUS_SET_INT64_TO_INT16(map->tab_registers, 110, large);
    for (i = 0; i < 6; i += 2) {
        map->tab_registers[114 + i / 2] = (uint16_t) ("SDM630"[i] << 8 | "SDM630"[i + 1]);
    }
}

static void serve(modbus_t *ctx, modbus_mapping_t *map)
{
    uint8_t query[MODBUS_TCP_MAX_ADU_LENGTH];

    for (;;) {
        int length = modbus_receive(ctx, query);
        if (length > 0) {
            modbus_reply(ctx, query, length, map);
        } else if (length == -1 && errno == ECONNRESET) {
            return;
        }
    }
}

static int serve_tcp(modbus_mapping_t *map)
{
    struct sockaddr_in address;
    socklen_t size = sizeof(address);
    modbus_t *ctx = modbus_new_tcp("127.0.0.1", 0);
    int listener = modbus_tcp_listen(ctx, 4);

    if (listener < 0 || getsockname(listener, (struct sockaddr *) &address, &size) != 0) {
        fprintf(stderr, "listen: %s\n", modbus_strerror(errno));
        return 1;
    }
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    while (modbus_tcp_accept(ctx, &listener) >= 0) {
        serve(ctx, map);
        modbus_close(ctx);
    }
    return 0;
}

static int serve_rtu(const char *device, modbus_mapping_t *map)
{
    modbus_t *ctx = modbus_new_rtu(device, 19200, 'N', 8, 1);

    modbus_set_slave(ctx, 17);
    if (modbus_connect(ctx) != 0) {
        fprintf(stderr, "%s: %s\n", device, modbus_strerror(errno));
        return 1;
    }
    printf("0\n");
    fflush(stdout);
    serve(ctx, map);
    return 0;
}

int main(int argc, char **argv)
{
    modbus_mapping_t *map = modbus_mapping_new(200, 200, 200, 200);

    fill(map);
    if (argc == 3 && strcmp(argv[1], "rtu") == 0) {
        return serve_rtu(argv[2], map);
    }
    return serve_tcp(map);
}
