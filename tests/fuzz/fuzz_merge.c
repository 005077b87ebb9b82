/* fuzz_merge.c: a hostile shard, and the whole of blip2 merge over it: output and report. Input: a byte of format and
 * count, a byte of options, then the lines after a good header (bit 7 of the first byte: the header too).
 * A merge that says it is complete has every picture once, and no script of the shard's stands in the page. */
#define _GNU_SOURCE /* memmem */
#include "cli/commands.h"
#include "reach.h"

#include <string.h>

/* The file's bytes, NUL-terminated; NULL: there is none. */
static char *read_back(const char *path) {
    FILE *file = fopen(path, "rb");
    if (file == NULL) return NULL;
    fseek(file, 0, SEEK_END);
    const size_t size = (size_t)ftell(file);
    char *text = calloc(size + 1, 1);
    rewind(file);
    fuzz_require(text != NULL && fread(text, 1, size, file) == size);
    fclose(file);
    return text;
}

static size_t count(const char *text, const char *what) {
    size_t n = 0;
    for (; (text = strstr(text, what)) != NULL; text++) n++;
    return n;
}

static void check_output(const char *output, const char *report, size_t n_pictures) {
    char *text = read_back(output), *page = read_back(report);
    fuzz_require(text != NULL && page != NULL);
    for (size_t i = 0; i < n_pictures; i++) {
        char key[32];
        snprintf(key, sizeof key, "\"index\":%zu,", i);
        fuzz_require(count(text, key) > 0);
    }
    fuzz_require(count(page, "<script") == 1 && count(page, "</script") == 1);
    free(text);
    free(page);
    fuzz_reached();
}

/* A header may name lists and words for merge to read; the fuzzer keeps it away from this machine's files. */
static bool names_files(const uint8_t *data, size_t size) {
    static const char *const keys[] = {"csv\"", "json", "list", "words", "\\u", "base"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (memmem(data, size, keys[i], strlen(keys[i])) != NULL) return true;
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const formats[] = {"text", "jsonl", "csv", "tsv", "imagefolder"};
    char shard[64], output[64], report[64];
    if (size < 2 || names_files(data + 2, size - 2)) return 0;
    fuzz_name(shard, sizeof shard, ".part");
    fuzz_name(output, sizeof output, ".out");
    fuzz_name(report, sizeof report, ".html");
    FILE *file = fopen(shard, "wb");
    if (file == NULL) abort();
    const size_t n_pictures = 1 + (data[0] >> 4 & 3);
    const bool has_header = (data[0] & 0x80) == 0;
    if (has_header)
        fprintf(
            file,
            "{\"blip2_journal\":1,\"count\":%zu,\"list\":\"0\",\"shard\":[0,1],\"model\":\"0\",\"options\":{\"format\":"
            "\"%s\",\"asks\":[{},{\"question\":\"q\"}],\"max_new_tokens\":20,\"exif\":true,\"tokens\":true,"
            "\"timings\":true,\"report\":true,%s\"words\":[],\"match_mode\":\"%s\"}}\n",
            n_pictures, formats[(data[0] & 15) % 5], data[1] & 2 ? "\"match\":\"colors\"," : "",
            data[1] & 1 ? "word" : "substring");
    else fputs("{\"blip2_journal\":1,", file);
    fwrite(data + 2, 1, size - 2, file);
    fclose(file);
    char *argv[] = {"merge", shard, "-o", output, "--report", report, data[1] & 4 ? NULL : "--partial", NULL};
    const int code = b2_cmd_merge(data[1] & 4 ? 6 : 7, argv);
    fuzz_require(code >= 0 && code <= 5);
    if (code == 0) check_output(output, report, has_header && (data[0] & 15) % 5 == 1 ? n_pictures : 0);
    unlink(output);
    unlink(report);
    unlink(shard);
    return 0;
}
