/* fuzz_journal.c: any bytes as a journal: opened, scanned with a torn end cut off, every record read and written. */
#include "job/journal.h"
#include "record/writer.h"
#include "reach.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { N_RECORDS = 8 };

static void read_records(const b2_journal *j, const b2_record_location *places, FILE *out) {
    static const b2_ask asks[2] = {{0}, {.question = "why?"}};
    const b2_style style = {.format = B2_FORMAT_JSONL, .asks = asks, .n_asks = 2, .n_results = 1};
    for (size_t i = 0; i < N_RECORDS; i++) {
        b2_record record;
        if (places[i].offset == 0 || b2_journal_read(j, places[i].offset, &record, NULL) != BLIP2_OK) continue;
        const bool fits = !b2_record_has_answers(&record) || record.n_answers == b2_style_answers(&style);
        if (fits && b2_record_write(&style, &record, out)) fuzz_reached();
        b2_record_free(&record);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char path[64];
    snprintf(path, sizeof path, "/dev/shm/blip2_fuzz_%d", (int)getpid());
    FILE *file = fopen(path, "wb"), *out = fopen("/dev/null", "w");
    if (file == NULL || out == NULL) abort();
    fputs(
        "{\"blip2_journal\":1,\"count\":8,\"list\":\"4e71fefeecd0843d\",\"shard\":[0,1],\"model\":\"e18850efe4719bae\","
        "\"options\":{\"format\":\"jsonl\",\"asks\":[{},{\"question\":\"why?\"}],\"max_new_tokens\":7,\"exif\":true,"
        "\"tokens\":true,\"timings\":false,\"report\":false,\"words\":[],\"match_mode\":\"word\"}}\n",
        file);
    fwrite(data, 1, size, file);
    fclose(file);
    b2_journal j;
    b2_record_location places[N_RECORDS] = {0};
    size_t n_twice = 0;
    if (b2_journal_open(path, &j, NULL) != BLIP2_OK) abort();
    if (b2_journal_scan(&j, 0, places, N_RECORDS, &n_twice, NULL) == BLIP2_OK) read_records(&j, places, out);
    b2_journal_close(&j);
    fclose(out);
    unlink(path);
    return 0;
}
