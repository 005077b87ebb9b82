/* tile_trap.c: see tile_trap.h. The six instructions of AMX-TILE and AMX-INT8 that isa_amx.c uses, carried out by a
 * SIGILL handler; see Intel's Software Developer's Manual, volume 2, and volume 1 chapter 18. What the manual answers
 * with #UD or #GP ends the test with a sentence: tiles that are not configured or do not fit, reserved bytes, a tile
 * twice. Other illegal instructions stay illegal. */
#define _GNU_SOURCE
#include "tile_trap.h"

#include <cpuid.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

enum { TILES = 8, ROWS = 16, ROW_BYTES = 64 };

/* A thread's tiles, as on the CPU. is_configured: between ldtilecfg and tilerelease. */
typedef struct tile_state {
    bool is_configured;
    uint16_t row_bytes[TILES];
    uint8_t rows[TILES], data[TILES][ROWS][ROW_BYTES];
} tile_state;
static _Thread_local tile_state state;
static _Atomic uint64_t configured, released, zeroed, loaded, stored, multiplied;

static atomic_bool is_native;

/* Register n of what the system saves: 0 what it can, 1 what is not in its first state now. Bits 17, 18: the tiles. */
static bool has_tiles(unsigned n) {
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(n));
    return (low & 0x60000) != 0;
}

tile_counts tile_trap_counts(void) {
    return (tile_counts){configured, released,   zeroed,    loaded,
                         stored,     multiplied, is_native, is_native && has_tiles(1)};
}

static void refuse(const char *why) {
    const char *const parts[] = {"tile_trap: ", why, "\n"};
    for (int i = 0; i < 3; i++)
        if (write(STDERR_FILENO, parts[i], strlen(parts[i])) < 0) _exit(98);
    _exit(97);
}
static void demand(bool condition, const char *otherwise) {
    if (!condition) refuse(otherwise);
}

static void load_configuration(const uint8_t *bytes) {
    static const struct {
        int from, to;
    } reserved[] = {{1, 16}, {16 + 2 * TILES, 48}, {48 + TILES, 64}}; /* start_row among them: ours is always 0 */
    demand(bytes[0] == 1, "ldtilecfg: the palette is not 1 (#GP)");
    for (int i = 0; i < 3; i++)
        for (int at = reserved[i].from; at < reserved[i].to; at++)
            demand(bytes[at] == 0, "ldtilecfg: a reserved byte is not 0 (#GP)");
    memset(&state, 0, sizeof state);
    memcpy(state.row_bytes, bytes + 16, sizeof state.row_bytes);
    memcpy(state.rows, bytes + 48, sizeof state.rows);
    for (int t = 0; t < TILES; t++)
        demand(state.row_bytes[t] <= ROW_BYTES && state.rows[t] <= ROWS &&
                   (state.row_bytes[t] == 0) == (state.rows[t] == 0),
               "ldtilecfg: a tile's size (#GP)");
    state.is_configured = true;
    configured++;
}

static void demand_tile(int t) {
    demand(state.is_configured, "a tile instruction before ldtilecfg or after tilerelease (#UD)");
    demand(t < TILES && state.rows[t] > 0, "a tile that is not configured (#UD)");
}

/* c += a b, signed bytes; what lies outside c's rows becomes zero, and outside its columns it is. */
static void multiply(int c, int a, int b) {
    demand_tile(c), demand_tile(a), demand_tile(b);
    demand(c != a && c != b && a != b, "tdpbssd: a tile twice (#UD)");
    demand(state.rows[c] == state.rows[a] && state.row_bytes[c] == state.row_bytes[b] &&
               state.row_bytes[a] == 4 * state.rows[b] && state.row_bytes[c] % 4 == 0,
           "tdpbssd: sizes that do not fit (#UD)");
    for (int m = 0; m < state.rows[c]; m++)
        for (int n = 0; n < state.row_bytes[c]; n += 4) {
            int32_t sum;
            memcpy(&sum, &state.data[c][m][n], sizeof sum);
            for (int k = 0; k < state.row_bytes[a]; k++)
                sum += (int8_t)state.data[a][m][k] * (int8_t)state.data[b][k / 4][n + k % 4];
            memcpy(&state.data[c][m][n], &sum, sizeof sum);
        }
    multiplied++;
}

static void load(int t, const uint8_t *from, int64_t stride) {
    demand_tile(t);
    memset(state.data[t], 0, sizeof state.data[t]);
    for (int m = 0; m < state.rows[t]; m++) memcpy(state.data[t][m], from + m * stride, state.row_bytes[t]);
    loaded++;
}

static void store(int t, uint8_t *to, int64_t stride) {
    demand_tile(t);
    for (int m = 0; m < state.rows[t]; m++) memcpy(to + m * stride, state.data[t][m], state.row_bytes[t]);
    stored++;
}

/* ---- decoding: VEX.128.0F38.W0, ModRM, for memory SIB and displacement ------------------------------------ */

typedef struct operand {
    uint8_t *address;
    int64_t stride; /* index << scale */
    size_t len;     /* bytes of ModRM, SIB, displacement */
    bool has_sib;
} operand;

static operand decode_memory(const uint8_t *modrm, const int64_t *registers, int extend_base, int extend_index) {
    const int mod = modrm[0] >> 6, rm = modrm[0] & 7;
    operand o = {.len = 1, .has_sib = rm == 4};
    int base = rm, displacement = mod == 1 ? 1 : mod == 2 ? 4 : 0;
    demand(o.has_sib || mod != 0 || rm != 5, "an address relative to rip, which this trap does not know");
    if (o.has_sib) {
        const int sib = modrm[1], index = (sib >> 3 & 7) | extend_index << 3;
        base = sib & 7;
        o.len = 2;
        if (index != 4) o.stride = registers[index] << (sib >> 6);
        if (base == 5 && mod == 0) base = -1, displacement = 4;
    }
    int64_t at = base < 0 ? 0 : registers[base | extend_base << 3];
    if (displacement == 1) at += (int8_t)modrm[o.len];
    if (displacement == 4) {
        int32_t wide;
        memcpy(&wide, modrm + o.len, sizeof wide);
        at += wide;
    }
    o.len += (size_t)displacement;
    o.address = (uint8_t *)at;
    return o;
}

static bool carry_out(greg_t *r) {
    static const int order[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                  REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
    const uint8_t *code = (const uint8_t *)r[REG_RIP], *modrm = code + 4;
    if (code[0] != 0xC4 || (code[1] & 0x1F) != 2 || (code[2] & 0x84) != 0) return false;
    int64_t registers[16];
    for (int i = 0; i < 16; i++) registers[i] = r[order[i]];
    const int prefix = code[2] & 3, third = ~code[2] >> 3 & 15, reg = modrm[0] >> 3 & 7, rm = modrm[0] & 7;
    const bool is_memory = modrm[0] >> 6 != 3;
    operand o = {.len = 1};
    if (is_memory) o = decode_memory(modrm, registers, !(code[1] & 0x20), !(code[1] & 0x40));
    enum { NP, P66, F3, F2 };
    if (code[3] == 0x49 && is_memory && prefix == NP && reg == 0) {
        load_configuration(o.address + (o.has_sib ? o.stride : 0));
    } else if (code[3] == 0x49 && !is_memory && prefix == NP && modrm[0] == 0xC0) {
        state.is_configured = false;
        released++;
    } else if (code[3] == 0x49 && !is_memory && prefix == F2 && rm == 0) {
        demand_tile(reg);
        memset(state.data[reg], 0, sizeof state.data[reg]);
        zeroed++;
    } else if (code[3] == 0x4B && is_memory && o.has_sib && (prefix == F2 || prefix == P66)) {
        load(reg, o.address, o.stride);
    } else if (code[3] == 0x4B && is_memory && o.has_sib && prefix == F3) {
        store(reg, o.address, o.stride);
    } else if (code[3] == 0x5E && !is_memory && prefix == F2) {
        multiply(reg, rm, third);
    } else {
        return false;
    }
    r[REG_RIP] += (greg_t)(4 + o.len);
    return true;
}

static void on_illegal(int number, siginfo_t *info, void *context) {
    (void)info;
    if (!carry_out(((ucontext_t *)context)->uc_mcontext.gregs)) signal(number, SIG_DFL); /* it comes again, for good */
}

/* A CPU with tiles carries out ldtilecfg without permission, and raises SIGILL for the others: half of it cannot be
 * imitated there. */
static bool cpu_has_tiles(void) {
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d >> 24 & 1) && has_tiles(0);
}

void tile_trap_set(void) {
    enum { REQ_XCOMP_PERM = 0x1023, XTILEDATA = 18 };
    if (cpu_has_tiles()) {
        demand(syscall(SYS_arch_prctl, REQ_XCOMP_PERM, XTILEDATA) == 0, "the system does not permit the CPU's tiles");
        is_native = true;
        return;
    }
    const struct sigaction action = {.sa_sigaction = on_illegal, .sa_flags = SA_SIGINFO | SA_NODEFER};
    sigaction(SIGILL, &action, NULL);
}
