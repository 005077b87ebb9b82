/* main.c: the table of commands. */
#include "blip2.h"

#include "base/parallel.h"
#include "cli/commands.h"
#include "console/json_memory.h"
#include "console/say.h"
#include "console/signals.h"
#include "console/openblas.h"

#include <stdio.h>
#include <string.h>

typedef struct command {
    const char *name, *usage, *help;
    int (*run)(int argc, char **argv);
} command;

static const command commands[] = {
    {"convert", "CHECKPOINT -o FILE", "a downloaded checkpoint -> one model file", b2_cmd_convert},
    {"caption", "IMAGE...", "describe pictures", b2_cmd_caption},
    {"ask", "\"QUESTION\" IMAGE...", "answer questions about pictures", b2_cmd_ask},
    {"score", "IMAGE... --text TEXT", "how likely the model holds given texts", b2_cmd_score},
    {"info", "[FILE]", "what a model file is and needs", b2_cmd_info},
    {"verify", "[FILE]", "compare all its checksums", b2_cmd_verify},
    {"match", "--csv FILE --column NAME", "colour and texture words of a text column", b2_cmd_match},
    {"merge", "SHARD... -o FILE", "the shards of a job -> its output", b2_cmd_merge},
    {"bench", "", "how fast this machine is, stage by stage", b2_cmd_bench},
};
enum { N_COMMANDS = sizeof commands / sizeof commands[0] };

static void print_help(FILE *out) {
    fputs("blip2: image captions and visual questions with BLIP-2, on the CPU\n\n", out);
    for (int i = 0; i < N_COMMANDS; i++) {
        char left[64];
        snprintf(left, sizeof left, "blip2 %s %s", commands[i].name, commands[i].usage);
        fprintf(out, "  %-40s  %s\n", left, commands[i].help);
    }
    fputs("\nblip2 COMMAND --help lists a command's options; blip2 --version says which this is.\n"
          "Exit codes: 0 done, 1 some pictures failed, 2 usage, 3 model or checkpoint, 4 list or output, 5 memory,\n"
          "75 stopped by a signal or the time limit (resumable), 130 Ctrl-C.\n",
          out);
}

int main(int argc, char **argv) {
    b2_openblas_leave_threads_out(argv);
    if (argc < 2) {
        print_help(stderr);
        return B2_EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        print_help(stdout);
        return b2_flush_stdout();
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts("blip2 " BLIP2_VERSION);
        return b2_flush_stdout();
    }
    for (int i = 0; i < N_COMMANDS; i++) {
        if (strcmp(argv[1], commands[i].name) != 0) continue;
        b2_omp_unbind();
        b2_openblas_correct_core(argv);
        b2_signals_install();
        b2_json_memory_install();
        b2_signals_watch_exit(true);
        const int code = commands[i].run(argc - 1, argv + 1);
        b2_signals_watch_exit(false);
        return code;
    }
    b2_say("unknown command '%s'", argv[1]);
    print_help(stderr);
    return B2_EXIT_USAGE;
}
