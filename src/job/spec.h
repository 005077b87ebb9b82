/* spec.h: what decides the bytes of a job's records. It is written into the journal's header, so that a job is
 * continued as it was begun, and read from there by merge, which has no command line of the job at hand. */
#ifndef B2_SPEC_H
#define B2_SPEC_H

#include "job/decoding.h"
#include "record/record.h"

enum { B2_MAX_ASKS = 64, B2_MAX_WORD_FILES = 8, B2_MAX_CHOICES = BLIP2_MAX_RESULTS };

typedef struct b2_spec {
    b2_format format;
    bool has_format; /* false: text, and one picture's text without its path */
    b2_ask asks[B2_MAX_ASKS];
    size_t n_asks;
    blip2_decoding decoding;
    const char *choices; /* "red|green"; NULL: answers are written freely */
    uint64_t answers;    /* the hash of the lines of --answers; 0: none */
    uint64_t scored;     /* the hash of the texts to score, or of their column (scoring.h); 0: none */
    bool is_short;       /* questions end with "Short answer:" */
    bool has_history;    /* a question comes after those before it, with their answers */
    bool apply_exif;
    bool has_background;   /* the user said it, or the header did; a header of 0.1.0 does not */
    bool keeps_hidden;     /* transparent pixels show the colour they hide; else */
    uint8_t background[3]; /* this one */
    bool reads_truncated;  /* what is there of damaged pictures */
    bool wants_tokens, wants_timings, wants_thumbnails;
    const char *match_lists; /* of --match; NULL */
    const char *word_files[B2_MAX_WORD_FILES];
    size_t n_word_files;
    b2_match_mode match_mode;
} b2_spec;

/* The name of each b2_match_mode, in their order; NULL after the last. */
extern const char *const b2_match_mode_names[];

/* A hash in a journal's header: 16 hexadecimal digits; 0 where there is none. */
json_t *b2_hash_to_json(uint64_t hash);
uint64_t b2_hash_from_json(const json_t *value);

/* As the "options" of a journal's header; NULL without memory. */
json_t *b2_spec_to_json(const b2_spec *spec);
/* The spec of a header; its strings live as long as the JSON. What an older program did not know is at its default.
 * False when something is missing, out of range, or not known to this program. */
bool b2_spec_from_json(const json_t *options, b2_spec *spec);
/* "white", "black", six hexadecimal digits, or "keep": what transparent pixels show. False: something else. */
bool b2_spec_set_background(b2_spec *spec, const char *text);
/* How the pictures are to be read. */
blip2_image_options b2_spec_image_options(const b2_spec *spec, size_t thumbnail_side);

/* Loads the word lists that it names. Errors: of b2_words_add_file() and b2_words_add_builtin(). */
blip2_status b2_spec_load_words(const b2_spec *spec, b2_words *words, blip2_error *err);

/* False, with a sentence: not two to B2_MAX_CHOICES choices, or one is empty, or there twice. */
bool b2_choices_check(const char *choices, blip2_error *err);

/* How many answers each ask gets. */
size_t b2_spec_results(const b2_spec *spec);

/* How the records of a list of n pictures are written. All that it is given outlives the style.
 * inputs: the table or lines that the output gives back; words: those loaded; output_path NULL: stdout. */
b2_style b2_spec_style(const b2_spec *spec, const b2_inputs *inputs, const b2_words *words, size_t n,
                       const char *output_path);

#endif
