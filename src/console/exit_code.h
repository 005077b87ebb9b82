/* exit_code.h: how the program ends; scripts rely on these numbers. */
#ifndef B2_EXIT_CODE_H
#define B2_EXIT_CODE_H

enum {
    B2_EXIT_OK = 0,
    B2_EXIT_SOME_FAILED = 1,
    B2_EXIT_USAGE = 2,
    B2_EXIT_MODEL = 3,
    B2_EXIT_FILES = 4,
    B2_EXIT_MEMORY = 5,
    B2_EXIT_RESUMABLE = 75, /* sysexits.h: EX_TEMPFAIL */
    B2_EXIT_INTERRUPTED = 130
};

#endif
