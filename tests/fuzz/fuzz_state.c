/* fuzz_state.c: any bytes as what is kept beside a finished output, and as that output: a longer list takes rows over
 * or refuses to, in each format. The first byte chooses the format, a NUL ends the output; the state's rows follow. */
#include "job/grown.h"
#include "reach.h"

#include <string.h>
#include <unistd.h>

enum { N_PICTURES = 4 };

static const char start[] =
    "{\"blip2_state\":1,\"job\":{\"blip2_journal\":1,\"count\":3,\"list\":\"4e71fefeecd0843d\",\"shard\":[0,1],"
    "\"model\":\"e18850efe4719bae\",\"options\":{\"asks\":[{},{\"question\":\"why?\"}],\"max_new_tokens\":7,\"exif\":true,"
    "\"tokens\":false,\"timings\":false,\"report\":false,\"words\":[],\"match_mode\":\"word\"}}}\n";

/* What was taken can be read again, and every picture of the list has at most one record. */
static void check_journal(b2_journal *j, size_t n_taken) {
    b2_record_location places[N_PICTURES] = {0};
    size_t n_twice = 0, n = 0;
    fuzz_require(b2_journal_scan(j, 0, places, N_PICTURES, &n_twice, NULL) == BLIP2_OK && j->n_damaged == 0);
    for (size_t i = 0; i < N_PICTURES; i++) {
        b2_record record;
        if (places[i].offset == 0) continue;
        n++;
        fuzz_require(b2_journal_read(j, places[i].offset, &record, NULL) == BLIP2_OK && record.index == i);
        b2_record_free(&record);
    }
    fuzz_require(n == n_taken);
}

static void take(b2_state *state, b2_format format, const char *output_path) {
    static char *paths[N_PICTURES] = {"/a.png", "/b.png", "/b.png", "/new.png"};
    static const b2_ask asks[2] = {{0}, {.question = "why?"}};
    const b2_inputs inputs = {.paths = paths, .n = N_PICTURES};
    const b2_style style = {.format = format,
                            .asks = asks,
                            .n_asks = 2,
                            .n_results = 1,
                            .inputs = &inputs,
                            .output_path = "/metadata.jsonl"};
    b2_header header = state->header;
    char part[64];
    bool was_there;
    fuzz_name(part, sizeof part, ".part");
    unlink(part);
    b2_journal journal;
    fuzz_require(b2_journal_begin(part, 0600, &header, &was_there, &journal, NULL) == BLIP2_OK);
    b2_record_location places[N_PICTURES] = {0};
    const b2_grown grown = {.inputs = &inputs, .style = &style, .output_path = output_path, .state = state};
    if (b2_grown_take(&grown, &journal, places, NULL) == BLIP2_OK) {
        size_t n = 0;
        for (size_t i = 0; i < N_PICTURES; i++) n += places[i].offset != 0;
        if (n > 0) fuzz_reached();
        check_journal(&journal, n);
    }
    b2_journal_close(&journal);
    unlink(part);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char output[64], path[64];
    if (size < 2) return 0;
    const uint8_t *end = memchr(data + 1, '\0', size - 1), *rows = end != NULL ? end + 1 : data + size;
    const size_t n_output = (size_t)((end != NULL ? end : data + size) - (data + 1)),
                 n_rows = (size_t)(data + size - rows);
    fuzz_name(output, sizeof output, "");
    fuzz_name(path, sizeof path, ".blip2");
    fuzz_write_file(output, data + 1, n_output);
    FILE *file = fopen(path, "wb");
    fuzz_require(file != NULL);
    if ((data[0] & 0x40) == 0) fputs(start, file);
    fwrite(rows, 1, n_rows, file);
    fclose(file);
    b2_state state;
    if (b2_state_read(path, &state, NULL) == BLIP2_OK) {
        fuzz_require(state.n_failed <= state.n_rows);
        for (size_t i = 0; i < state.n_rows; i++) fuzz_require(b2_state_has(&state, state.rows[i].hash));
        take(&state, (b2_format)((data[0] & 7) % B2_N_FORMATS), output);
    }
    b2_state_free(&state);
    unlink(output);
    unlink(path);
    return 0;
}
