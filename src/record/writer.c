/* writer.c: the table of formats. A new format is a file with its functions and a row here. */
#include "record/writer.h"

#include "record/jsonl.h"
#include "record/tables.h"

#include <string.h>

static const struct {
    const char *name;
    bool (*write)(const b2_style *style, const b2_record *record, FILE *out); /* false without memory */
    void (*write_header)(const b2_style *style, FILE *out);                   /* NULL: none */
} writers[B2_N_FORMATS] = {
    [B2_FORMAT_TEXT] = {"text", b2_text_write, NULL},
    [B2_FORMAT_JSONL] = {"jsonl", b2_jsonl_write, NULL},
    [B2_FORMAT_CSV] = {"csv", b2_table_write, b2_table_write_header},
    [B2_FORMAT_TSV] = {"tsv", b2_tsv_write, NULL},
    [B2_FORMAT_IMAGEFOLDER] = {"imagefolder", b2_imagefolder_write, NULL},
};

const char *b2_format_name(b2_format format) { return writers[format].name; }

bool b2_format_find(const char *name, b2_format *format) {
    for (int i = 0; i < B2_N_FORMATS; i++) {
        *format = (b2_format)i;
        if (strcmp(name, writers[i].name) == 0) return true;
    }
    return false;
}

bool b2_record_write_header(const b2_style *style, FILE *out) {
    if (writers[style->format].write_header != NULL) writers[style->format].write_header(style, out);
    return fflush(out) == 0 && !ferror(out);
}

bool b2_record_write(const b2_style *style, const b2_record *record, FILE *out) {
    const bool is_done = writers[style->format].write(style, record, out);
    return fflush(out) == 0 && !ferror(out) && is_done;
}
