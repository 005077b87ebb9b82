/* args.h: the options of a command as one typed table. It drives parsing, ranges, choices and the help text: a new
 * option is a row, and only what has to be computed needs a function. */
#ifndef B2_ARGS_H
#define B2_ARGS_H

#include <stdbool.h>
#include <stddef.h>

enum { B2_ARG_ERROR_BYTES = 256 };

typedef enum b2_arg_type {
    B2_ARG_SET,    /* no value: bool true */
    B2_ARG_CLEAR,  /* no value: bool false */
    B2_ARG_TEXT,   /* const char *: into argv */
    B2_ARG_SIZE,   /* size_t from low to high */
    B2_ARG_INT,    /* int, likewise */
    B2_ARG_REAL,   /* double, likewise */
    B2_ARG_SEED,   /* uint64_t, any */
    B2_ARG_CHOICE, /* int: the place of the value in choices */
    B2_ARG_CALL,   /* call(target, value, error) */
    B2_ARG_HELP    /* no value: the help text */
} b2_arg_type;

typedef struct b2_option {
    char letter;       /* '\0': no short form */
    const char *name;  /* without the dashes; NULL ends the table */
    const char *value; /* what the help calls its value; NULL: it takes none */
    const char *help;
    b2_arg_type type;
    size_t offset; /* of the member of the target that it sets */
    double low, high;
    const char *const *choices; /* ends with NULL */
    /* False with a sentence in error[B2_ARG_ERROR_BYTES]. */
    bool (*call)(void *target, const char *value, char *error);
} b2_option;

/* Rows that several commands have. B2_OPTION_THREADS: at: ".offset = " of an int; 0: not given. */
#define B2_OPTION_THREADS(at)                                                                                          \
    {                                                                                                                  \
        't', "threads", "N", "(default: OMP_NUM_THREADS, SLURM_CPUS_PER_TASK, else one per core)", B2_ARG_INT, at,     \
            .low = 1, .high = 256                                                                                      \
    }
/* Three rows: a b2_gpu_wish (console/gpu_wish.h), member `wish` of the target; AT as the table has it. */
#define B2_OPTIONS_GPU(wish)                                                                                           \
    {0,           "gpu-layers",                                                                                        \
     "N|auto",    "layers on a CUDA device; auto: as many as fit (default: $BLIP2_GPU_LAYERS, else 0)",                \
     B2_ARG_TEXT, AT(wish.layers)},                                                                                    \
        {0, "gpu-device", "N", "which CUDA device (default 0)", B2_ARG_INT, AT(wish.device), .low = 0, .high = 255}, { \
        0, "gpu-timeout", "SECONDS", "a device silent for so long is given up (default 60)", B2_ARG_INT,               \
            AT(wish.timeout_s), .low = 1, .high = 86400                                                                \
    }
#define B2_OPTION_HELP                                                                                                 \
    { 'h', "help", NULL, "this text", .type = B2_ARG_HELP }

/* What a command takes. */
typedef struct b2_syntax {
    const char *help; /* above the options */
    const b2_option *options;
    size_t max_positionals;
    const char *if_more; /* what is said about a further one: "one file at a time" */
} b2_syntax;

typedef struct b2_args {
    const char **positionals; /* argv + 1, where parsing has moved them */
    size_t n_positionals;
} b2_args;

typedef enum b2_parsed { B2_PARSED, B2_PARSED_HELP, B2_PARSED_ERROR } b2_parsed;

/* Reads argv[1 .. argc) into target and args; argv is reordered. Understands --name=value, --name value, -x value,
 * -xvalue, -vxvalue, "--", and "-" as a positional. Stops at the help option, and at an error, with its sentence. */
b2_parsed b2_args_parse(const b2_syntax *syntax, int argc, char **argv, void *target, b2_args *args,
                        char error[B2_ARG_ERROR_BYTES]);

/* The same for a command, argv[0]: prints the help, or says what is wrong. True: the command may go on; false: *code is
 * its exit code. */
bool b2_args_begin(const b2_syntax *syntax, int argc, char **argv, void *target, b2_args *args, int *code);

/* For calls: error = "expected WHAT, got 'value'"; returns false. */
bool b2_arg_refuse(char *error, const char *what, const char *value);

#endif
