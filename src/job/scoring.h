/* scoring.h: a list of pictures and texts in, how likely each text is out; what is done survives a kill, as in a job
 * (job.h), with whose plan and journal it works. One session, one picture after the other. */
#ifndef B2_SCORING_H
#define B2_SCORING_H

#include "job/options.h"

typedef struct b2_scoring_options {
    b2_job_options job;    /* its spec: one ask, the format, EXIF; its batch, workers and shard are not looked at */
    const char **texts;    /* [n_texts] the same ones for every picture; or */
    size_t n_texts;        /* 0: each row of the table has its own, */
    size_t column;         /* in this column */
    const char *file_name; /* of a file that the texts came from; NULL */
} b2_scoring_options;

/* Scores the list, says what goes wrong, and returns the exit code of the program. */
int b2_scoring_run(const b2_inputs *inputs, const b2_scoring_options *options);

#endif
