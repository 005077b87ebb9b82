/* commands.h: one function per command; argv[0] is the command's name. Each returns the program's exit code. */
#ifndef B2_COMMANDS_H
#define B2_COMMANDS_H

int b2_cmd_convert(int argc, char **argv);
int b2_cmd_caption(int argc, char **argv);
int b2_cmd_ask(int argc, char **argv);
int b2_cmd_score(int argc, char **argv);
int b2_cmd_info(int argc, char **argv);
int b2_cmd_verify(int argc, char **argv);
int b2_cmd_bench(int argc, char **argv);
int b2_cmd_match(int argc, char **argv);
int b2_cmd_merge(int argc, char **argv);

#endif
