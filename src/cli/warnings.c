/* warnings.c: see warnings.h. Each is said before any work, and the job goes on. */
#include "cli/warnings.h"

#include "base/path.h"
#include "console/say.h"
#include "job/decoding.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

/* A table that may have no header, or whose rows are not as long as it. */
void b2_warn_about_table(const b2_inputs *inputs, const char *csv_column) {
    const b2_csv *csv = &inputs->csv;
    char ragged[BLIP2_ERROR_BYTES], *end = NULL;
    struct stat st;
    if (!inputs->has_csv) return;
    const unsigned long number = csv_column != NULL ? strtoul(csv_column, &end, 10) : 1;
    const bool is_number = end == NULL || *end == '\0';
    char *name = is_number && !csv->no_header ? b2_csv_value(b2_csv_cell(csv, 0, number - 1)) : NULL;
    char *path = name != NULL && name[0] != '\0' ? b2_inputs_resolve(inputs, 0, name, NULL) : NULL;
    if (path != NULL && stat(path, &st) == 0 && S_ISREG(st.st_mode)) {
        b2_say("warning: %s: the header says '%s', which is a file: without a header use --no-header",
               inputs->lists[0].path, name);
    }
    free(name);
    free(path);
    b2_csv_print_ragged(csv, ragged, sizeof ragged);
    if (ragged[0] != '\0') b2_say("warning: %s", ragged);
}

void b2_warn_about_prompts(const b2_spec *spec) {
    for (size_t i = 0; i < spec->n_asks; i++) {
        const char *prompt = spec->asks[i].prompt;
        const size_t len = prompt != NULL ? strlen(prompt) : 0;
        if (len > 0 && prompt[len - 1] == ' ')
            b2_say("warning: the prompt ends with a space; tokens already carry theirs, so answers get worse");
    }
}

void b2_warn_about_decoding(const b2_spec *spec, const blip2_decoding *preset) {
    const blip2_decoding *d = &spec->decoding;
    size_t n;
    const b2_decoding_row *rows = b2_decoding_rows(&n);
    for (size_t i = 0; i < n; i++) {
        const bool needs_samples = strncmp(rows[i].help, "sampling:", 9) == 0 && !d->do_sample;
        const bool needs_beams = strncmp(rows[i].help, "beams:", 6) == 0 && d->num_beams == 1;
        if (!(needs_samples || needs_beams) || b2_decoding_is_same(&rows[i], d, preset)) continue;
        b2_say("warning: --%s does nothing %s", rows[i].flag,
               spec->choices != NULL ? "with --choices"
               : needs_samples       ? "without --do-sample"
                                     : "without --num-beams 2 or more");
    }
}

/* ---- imagefolder ------------------------------------------------------------------------------------------------- */

/* What datasets' imagefolder takes of the types that this program reads. */
static const char *const endings[] = {".bmp",  ".dib", ".gif",  ".png",  ".apng", ".jpg", ".jpeg", ".jpe",
                                      ".jfif", ".tif", ".tiff", ".webp", ".pbm",  ".pgm", ".ppm",  ".pnm"};

/* Why load_dataset("imagefolder") does not find a name of metadata.jsonl: it lists the folder of that file, without
 * names that begin with "." or "__". NULL: it does. */
static const char *find_miss(const char *name) {
    if (name[0] == '/') return "lies outside of the output's folder";
    for (const char *at = name; *at != '\0'; at += strcspn(at, "/"), at += *at == '/') {
        if (strncmp(at, "../", 3) == 0) return "lies outside of the output's folder";
        if (at[0] == '.' || strncmp(at, "__", 2) == 0) return "is hidden by a name that begins with . or __";
    }
    const char *dot = strrchr(b2_path_base(name), '.');
    for (size_t i = 0; dot != NULL && i < sizeof endings / sizeof endings[0]; i++)
        if (strcasecmp(dot, endings[i]) == 0) return NULL;
    return "has an ending that it does not take";
}

void b2_warn_about_imagefolder(const b2_inputs *inputs, const char *output_path) {
    size_t n = 0;
    char *first = NULL;
    const char *why = NULL;
    if (strcmp(b2_path_base(output_path), "metadata.jsonl") != 0)
        b2_say("warning: %s: load_dataset finds the texts in a file named metadata.jsonl", output_path);
    for (size_t i = 0; i < inputs->n; i++) {
        char *name = b2_inputs_path_from(output_path, inputs, i, inputs->paths[i]);
        const char *miss = name != NULL && inputs->paths[i][0] != '\0' ? find_miss(name) : NULL;
        n += miss != NULL;
        if (miss == NULL || first != NULL) {
            free(name);
        } else {
            first = name;
            why = miss;
        }
    }
    if (n > 0)
        b2_say("warning: load_dataset does not find %zu of %zu names in %s: the first, %s, %s", n, inputs->n,
               output_path, first, why);
    free(first);
}
