/* fuzz_journal.c: any bytes as a journal: opened, scanned with a torn end cut off. Every record that the scan takes can
 * be read and written; of a job that scores texts a line of JSON stays one. A first byte of 1, 2 or 3: such a job, in
 * text, JSON lines or CSV. */
#include "base/memory_text.h"
#include "job/journal.h"
#include "lists/json_scan.h"
#include "record/writer.h"
#include "reach.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { N_RECORDS = 8 };

#define HEADER(format, more)                                                                                           \
    "{\"blip2_journal\":1,\"count\":8,\"list\":\"4e71fefeecd0843d\",\"shard\":[0,1],\"model\":\"e18850efe4719bae\","   \
    "\"options\":{\"format\":\"" format "\"," more "\"max_new_tokens\":7,\"exif\":true,\"timings\":false,"             \
    "\"report\":false,\"words\":[],\"match_mode\":\"word\"}}\n"
#define SCORED "\"asks\":[{}],\"tokens\":false,\"scored_texts\":\"00000000000000aa\","

static const struct {
    const char *header;
    b2_format format;
} kinds[] = {{HEADER("jsonl", "\"asks\":[{},{\"question\":\"why?\"}],\"tokens\":true,"), B2_FORMAT_JSONL},
             {HEADER("text", SCORED), B2_FORMAT_TEXT},
             {HEADER("jsonl", SCORED), B2_FORMAT_JSONL},
             {HEADER("csv", SCORED), B2_FORMAT_CSV}};

static void check_lines(const char *text) {
    const char *why;
    for (const char *line = text; *line != '\0';) {
        const size_t n = strcspn(line, "\n");
        if (!b2_json_is_value((b2_text){line, n}, NULL, NULL, &why)) abort();
        line += n + 1;
    }
}

static void write_record(const b2_style *style, const b2_record *record) {
    b2_memory_text out;
    if (b2_memory_text_begin(&out) == NULL) return;
    const bool is_written = b2_record_write(style, record, out.file);
    if (!b2_memory_text_end(&out)) return;
    if (is_written) fuzz_reached();
    if (is_written && style->has_scores && style->format == B2_FORMAT_JSONL) check_lines(out.text);
    free(out.text);
}

static void read_records(const b2_journal *j, const b2_record_location *places, const b2_style *style) {
    for (size_t i = 0; i < N_RECORDS; i++) {
        b2_record record;
        if (places[i].offset == 0) continue;
        if (b2_journal_read(j, places[i].offset, &record, NULL) != BLIP2_OK) abort();
        if (!b2_record_has_answers(&record) || record.n_answers == b2_style_answers(style))
            write_record(style, &record);
        b2_record_free(&record);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const b2_ask asks[2] = {{0}, {.question = "why?"}};
    const size_t kind = size > 0 && data[0] >= 1 && data[0] <= 3 ? data[0] : 0, skipped = kind > 0;
    const b2_style style = {
        .format = kinds[kind].format, .asks = asks, .n_asks = kind > 0 ? 1 : 2, .n_results = 1, .has_scores = kind > 0};
    char path[64];
    snprintf(path, sizeof path, "/dev/shm/blip2_fuzz_%d", (int)getpid());
    FILE *file = fopen(path, "wb");
    if (file == NULL) abort();
    fputs(kinds[kind].header, file);
    fwrite(data + skipped, 1, size - skipped, file);
    fclose(file);
    b2_journal j;
    b2_record_location places[N_RECORDS] = {0};
    size_t n_twice = 0;
    if (b2_journal_open(path, &j, NULL) != BLIP2_OK) abort();
    if (b2_journal_scan(&j, 0, places, N_RECORDS, &n_twice, NULL) == BLIP2_OK) read_records(&j, places, &style);
    b2_journal_close(&j);
    unlink(path);
    return 0;
}
