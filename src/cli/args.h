/* args.h: a table of options per command: it drives parsing, checking and the help text. */
#ifndef B2_ARGS_H
#define B2_ARGS_H

#include <stdbool.h>
#include <stddef.h>

typedef struct b2_option {
    int id;            /* > 0, the caller's own; 0 ends the table */
    char letter;       /* '\0': no short form */
    const char *name;  /* without the dashes */
    const char *value; /* what the help calls its value; NULL: a flag */
    const char *help;
} b2_option;

enum { B2_ARG_POSITIONAL = 0, B2_ARG_END = -1, B2_ARG_ERROR = -2 };

typedef struct b2_args {
    const b2_option *options;
    int argc, at;
    char **argv;
    const char *cluster; /* the rest of "-abc" */
    bool only_positionals;
    char error[256];
} b2_args;

/* The next argument: an option's id (*value: its value or NULL), POSITIONAL (*value: it), END, or ERROR (args->error is
 * a sentence). Understands --name=value, --name value, -x value, -xvalue, "--", and "-" as a positional. */
int b2_args_next(b2_args *args, const char **value);

/* "--name value" -> *number within [low, high]; false with a sentence in args->error. */
bool b2_args_number(b2_args *args, const char *name, const char *value, long low, long high, long *number);

/* Prints the table to stdout. */
void b2_args_print_options(const b2_option *options);

#endif
