/* fuzz_lists.c: any bytes as a list of pictures of each kind, and everything that is made of its rows: names of
 * sidecars, the paths to open, the hash, a record in every format. Input: a byte of kind and options, then the list.
 * JSON lines have a line for each answer, TSV one for each record, CSV a row that reads back; no sidecar leaves its
 * folder. */
#include "job/sidecar.h"
#include "lists/json_list.h"
#include "record/writer.h"
#include "reach.h"

#include <string.h>

static blip2_status add_list(b2_inputs *inputs, const char *path, uint8_t options, blip2_error *err) {
    inputs->csv.no_header = (options & 8) != 0;
    inputs->base_folder = options & 4 ? "/dev/shm" : NULL;
    switch (options % 4) {
    case 0: return b2_inputs_add_jsonl(inputs, path, "image", err);
    case 1: return b2_inputs_add_csv(inputs, path, options & 16 ? "2" : NULL, err);
    case 2: return b2_inputs_add_list(inputs, path, B2_LIST_LINES, err);
    default: return b2_inputs_add_list(inputs, path, B2_LIST_NUL, err);
    }
}

static bool climbs(const char *path) {
    for (const char *at = path; (at = strstr(at, "..")) != NULL; at += 2)
        if ((at == path || at[-1] == '/') && (at[2] == '/' || at[2] == '\0')) return true;
    return false;
}

static void check_sidecar(const b2_inputs *inputs, size_t i, const char *extension, bool has_folder) {
    static const char folder[] = "/dev/shm/blip2_fuzz_sidecars/";
    const b2_sidecar_options options = {
        .is_wanted = true, .extension = extension, .out_folder = has_folder ? folder : NULL};
    char *path = b2_sidecar_path(&options, inputs, i, inputs->paths[i]);
    fuzz_require(path != NULL);
    if (has_folder) fuzz_require(strncmp(path, folder, strlen(folder) - 1) == 0 && !climbs(path + strlen(folder) - 1));
    free(path);
}

static void check_paths(const b2_inputs *inputs, size_t i) {
    bool is_other;
    free(b2_inputs_resolve(inputs, i, inputs->paths[i], &is_other));
    free(b2_inputs_path_from("/a/b/../c.jsonl", inputs, i, inputs->paths[i]));
    (void)b2_inputs_list_of(inputs, i);
}

static void check_text(b2_format format, char *text, size_t size) {
    if (format == B2_FORMAT_JSONL || format == B2_FORMAT_TSV) { /* JSON lines: one for each answer */
        size_t n_lines = 0;
        for (const char *at = text; (at = memchr(at, '\n', size - (size_t)(at - text))) != NULL; at++) n_lines++;
        fuzz_require(n_lines == (format == B2_FORMAT_JSONL ? 2 : 1) && text[size - 1] == '\n');
    }
    if (format == B2_FORMAT_CSV) { /* header and row read back as two rows of as many cells */
        b2_csv back = {.no_header = true};
        fuzz_require(b2_csv_add_text(&back, text, size, "written", NULL) == BLIP2_OK && back.n_rows == 2);
        b2_csv_free(&back);
        return;
    }
    free(text);
}

static void check_record(const b2_inputs *inputs, size_t i, const b2_words *words, b2_format format) {
    static const b2_ask asks[2] = {{0}, {.question = "why, \"x\"?"}};
    b2_answer answers[2] = {{.text = inputs->paths[i]}, {.text = (char *)"a red = cat"}};
    const b2_record record = {.index = i, .path = inputs->paths[i], .answers = answers, .n_answers = 2};
    const b2_style style = {.format = format,
                            .asks = asks,
                            .n_asks = 2,
                            .n_results = 1,
                            .inputs = format == B2_FORMAT_CSV ? NULL : inputs,
                            .words = words,
                            .output_path = "x/y"};
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    fuzz_require(out != NULL);
    if (format == B2_FORMAT_CSV) b2_record_write_header(&style, out);
    b2_record_write(&style, &record, out);
    fclose(out);
    check_text(format, text, size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char path[64];
    if (size < 2) return 0;
    fuzz_name(path, sizeof path, ".list");
    fuzz_write_file(path, data + 1, size - 1);
    b2_inputs inputs = {0};
    b2_words words = {0};
    blip2_error err = {.message = ""};
    if (add_list(&inputs, path, data[0], &err) == BLIP2_OK) {
        (void)b2_inputs_hash(&inputs);
        (void)b2_inputs_bytes(&inputs);
        fuzz_require(b2_words_add_builtin(&words, "colors", NULL) == BLIP2_OK);
        for (size_t i = 0; i < inputs.n && i < 32; i++) {
            check_sidecar(&inputs, i, data[0] & 32 ? "txt" : NULL, (data[0] & 64) == 0);
            check_paths(&inputs, i);
            for (int format = 0; format < B2_N_FORMATS; format++) check_record(&inputs, i, &words, (b2_format)format);
        }
        if (inputs.n > 1) fuzz_reached();
    } else fuzz_require(err.message[0] != '\0');
    b2_words_free(&words);
    b2_inputs_free(&inputs);
    unlink(path);
    return 0;
}
