/* record.h: what is known about one picture when its turn is over, and how its user wants it written. */
#ifndef B2_RECORD_H
#define B2_RECORD_H

#include "blip2.h"
#include "base/text.h"
#include "lists/inputs.h"
#include "words/match.h"

/* How a record, or one answer, ended; of several answers the one that stands last here speaks for the record. The names
 * stand in outputs and journals. */
typedef enum b2_record_status {
    B2_RECORD_OK,
    B2_RECORD_TRUNCATED, /* max_new_tokens reached before the stop token */
    B2_RECORD_ECHO,      /* the answer begins with the question */
    B2_RECORD_EMPTY,     /* nothing but white space */
    B2_RECORD_SKIPPED,   /* its sidecar exists; never of an answer */
    B2_RECORD_ERROR      /* the picture cannot be read, or the numbers were not finite */
} b2_record_status;
enum { B2_N_RECORD_STATUSES = B2_RECORD_ERROR + 1 };

/* "ok", "truncated", ... */
const char *b2_record_status_name(b2_record_status status);

/* The status of a name; false where no status has it, or name is NULL. */
bool b2_record_status_find(const char *name, b2_record_status *status);

/* One thing to say about every picture: at most one of prompt and question; neither: a plain caption. */
typedef struct b2_ask {
    const char *prompt, *question;
    const char *column; /* its name in tables; NULL: chosen */
} b2_ask;

/* One answer of the model. */
typedef struct b2_answer {
    char *text; /* from malloc */
    b2_record_status outcome;
    double score; /* what the answers to one ask are ordered by */
    size_t n_tokens;
    int32_t *tokens; /* from malloc; NULL without --tokens */
    float *logprobs; /* likewise */
    double logprob;
    bool is_retried; /* the first attempt was empty */
    size_t n_processed;
    float *processed;   /* [n_processed] log-probabilities after rules and cuts, from malloc; NULL without */
    char *alternatives; /* JSON: for each token [{"id":,"text":,"logprob":},...]; from malloc; NULL without */
    size_t n_shares;
    double *shares; /* [n_shares] the probability of each choice, from malloc; NULL without choices */
} b2_answer;

typedef struct b2_record {
    size_t index; /* place in the whole list */
    char *path;   /* as the user wrote it; from malloc */
    char *sample; /* JSON that is carried through: an archive's key and texts (lists/tar.h), a pipe's line; from malloc,
                   * valid UTF-8; NULL: none */
    char *error;  /* from malloc, valid UTF-8; NULL: the answers hold */
    char *taken;  /* what stands in the output instead of answers, as its format has it: of an earlier output (rows.h),
                   * or scores (scores.h); from malloc; NULL */
    b2_record_status taken_status;
    bool rotated, is_skipped;
    const char *hint;   /* to be said once: what of the picture's information is lost; never freed, not kept; NULL */
    b2_answer *answers; /* [n_asks][n_results of each], from malloc */
    size_t n_answers;
    bool has_timings;
    blip2_timings timings;
    char *thumbnail; /* a JPEG in base64, for reports; from malloc; NULL: none */
    size_t thumbnail_width, thumbnail_height;
} b2_record;

void b2_record_free(b2_record *record);

b2_record_status b2_record_get_status(const b2_record *record);

/* The sentence of a record whose status is B2_RECORD_ERROR; "" otherwise. */
const char *b2_record_why(const b2_record *record);

/* False for a picture that failed or was skipped, where there is nothing to say about it but that, and for what was
 * taken. */
bool b2_record_has_answers(const b2_record *record);

/* ---- how records are written ------------------------------------------------------------------------------------- */

typedef enum b2_format {
    B2_FORMAT_TEXT,
    B2_FORMAT_JSONL,
    B2_FORMAT_CSV,
    B2_FORMAT_TSV,
    B2_FORMAT_IMAGEFOLDER
} b2_format;
enum { B2_N_FORMATS = 5 };

typedef struct b2_style {
    b2_format format;
    bool only_text; /* one picture and no format: the answer and nothing else */
    const b2_ask *asks;
    size_t n_asks;
    size_t n_results;        /* answers to each ask */
    bool has_scores;         /* of texts that the user gave: records have no answers (scores.h) */
    const char *choices;     /* "red|green", what answers are chosen from; NULL: they are written freely */
    const b2_inputs *inputs; /* the table or JSON lines whose cells and lines are written back; may be NULL */
    const b2_words *words;   /* to look for in every answer; NULL: none */
    b2_match_mode match_mode;
    const char *output_path; /* of imagefolder: names are relative to its folder */
} b2_style;

/* Choice i of "red|green"; false beyond the end. */
bool b2_choice_at(const char *choices, size_t i, b2_text *choice);
size_t b2_choices_count(const char *choices); /* 0 for NULL */

/* How many answers a record has: each ask's n_results, one ask after the other. */
size_t b2_style_answers(const b2_style *style);

/* The name of ask i in tables: what the user said, else "caption", "answer", or the question where there are
 * several. */
const char *b2_style_column(const b2_style *style, size_t i);

/* The name of answer i of all: that of its ask; where an ask has several answers: caption_1, caption_2, in name[] (one
 * that does not fit is cut). */
enum { B2_COLUMN_BYTES = 1024 };
const char *b2_style_answer_column(const b2_style *style, size_t i, char name[B2_COLUMN_BYTES]);

#endif
