/* args.c: one pass over argv; each value goes straight to its member of the target. */
#include "cli/args.h"

#include "base/text.h"
#include "console/say.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct parser {
    const b2_syntax *syntax;
    int argc, at;
    char **argv;
    void *target;
    char *error;
    bool wants_help;
} parser;

static bool fail(char *error, const char *format, ...) B2_PRINTF(2, 3);
static bool fail(char *error, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(error, B2_ARG_ERROR_BYTES, format, args);
    va_end(args);
    return false;
}

bool b2_arg_refuse(char *error, const char *what, const char *value) {
    return fail(error, "expected %s, got '%s'", what, value);
}

/* ---- values ---------------------------------------------------------------------------------------------------- */

static bool read_number(const b2_option *o, const char *text, double *number, char *error) {
    char *end;
    const bool is_whole = o->type != B2_ARG_REAL;
    errno = 0;
    *number = is_whole ? (double)strtoll(text, &end, 10) : strtod(text, &end);
    if (end != text && *end == '\0' && errno == 0 && *number >= o->low && *number <= o->high) return true;
    return fail(error, "expected a %snumber from %.15g to %.15g, got '%s'", is_whole ? "whole " : "", o->low, o->high,
                text);
}

static bool read_choice(const b2_option *o, const char *text, int *choice, char *error) {
    char names[160] = "";
    for (int i = 0; o->choices[i] != NULL; i++) {
        *choice = i;
        if (strcmp(o->choices[i], text) == 0) return true;
        const size_t n = strlen(names);
        const char *separator = i == 0 ? "" : o->choices[i + 1] == NULL ? " or " : ", ";
        snprintf(names + n, sizeof names - n, "%s%s", separator, o->choices[i]);
    }
    return b2_arg_refuse(error, names, text);
}

/* Each type writes one kind of member; memcpy, because the target's type is the command's own. */
static bool store(const b2_option *o, const char *value, void *target, char *error) {
    char *member = (char *)target + o->offset;
    const bool is_set = o->type == B2_ARG_SET;
    double number = 0;
    uint64_t seed;
    int whole = 0;
    switch (o->type) {
    case B2_ARG_SET:
    case B2_ARG_CLEAR: memcpy(member, &is_set, sizeof is_set); return true;
    case B2_ARG_TEXT: memcpy(member, &value, sizeof value); return true;
    case B2_ARG_SEED:
        if (!b2_read_u64(value, &seed)) return b2_arg_refuse(error, "a whole number below 2^64", value);
        memcpy(member, &seed, sizeof seed);
        return true;
    case B2_ARG_CALL: return o->call(target, value, error);
    case B2_ARG_CHOICE:
        if (!read_choice(o, value, &whole, error)) return false;
        memcpy(member, &whole, sizeof whole);
        return true;
    default: break;
    }
    if (!read_number(o, value, &number, error)) return false;
    const size_t size = number > 0 ? (size_t)number : 0;
    if (o->type == B2_ARG_INT) whole = (int)number;
    if (o->type == B2_ARG_REAL) memcpy(member, &number, sizeof number);
    else if (o->type == B2_ARG_SIZE) memcpy(member, &size, sizeof size);
    else memcpy(member, &whole, sizeof whole);
    return true;
}

/* attached: what follows the option in the same argument; else its value is the next argument. */
static bool take_option(parser *p, const b2_option *o, const char *attached) {
    const char *value = attached;
    char why[B2_ARG_ERROR_BYTES];
    if (o->value == NULL && attached != NULL) return fail(p->error, "--%s takes no value", o->name);
    if (o->type == B2_ARG_HELP) {
        p->wants_help = true;
        return true;
    }
    if (o->value != NULL && value == NULL && p->at < p->argc) value = p->argv[p->at++];
    if (o->value != NULL && value == NULL) return fail(p->error, "--%s needs a value (%s)", o->name, o->value);
    return store(o, value, p->target, why) || fail(p->error, "--%s: %s", o->name, why);
}

/* ---- spellings ------------------------------------------------------------------------------------------------- */

static bool take_long(parser *p, const char *text) {
    const char *equals = strchr(text, '=');
    const size_t len = equals != NULL ? (size_t)(equals - text) : strlen(text);
    for (const b2_option *o = p->syntax->options; o->name != NULL; o++)
        if (strlen(o->name) == len && memcmp(o->name, text, len) == 0)
            return take_option(p, o, equals != NULL ? equals + 1 : NULL);
    return fail(p->error, "unknown option --%.*s", (int)len, text);
}

/* "-vx", "-ofile": options without a value, one after another, then perhaps one with. */
static bool take_short(parser *p, const char *letters) {
    while (*letters != '\0' && !p->wants_help) {
        const b2_option *o = p->syntax->options;
        while (o->name != NULL && o->letter != *letters) o++;
        if (o->name == NULL) return fail(p->error, "unknown option -%c", *letters);
        letters++;
        const bool has_value = o->value != NULL;
        if (!take_option(p, o, has_value && *letters != '\0' ? letters : NULL)) return false;
        if (has_value) break;
    }
    return true;
}

b2_parsed b2_args_parse(const b2_syntax *syntax, int argc, char **argv, void *target, b2_args *args,
                        char error[B2_ARG_ERROR_BYTES]) {
    parser p = {.syntax = syntax, .argc = argc, .at = 1, .argv = argv, .target = target, .error = error};
    bool only_positionals = false;
    *args = (b2_args){.positionals = (const char **)(void *)(argv + 1)};
    while (p.at < argc) {
        const char *text = argv[p.at++];
        const bool is_option = !only_positionals && text[0] == '-' && text[1] != '\0';
        if (is_option && strcmp(text, "--") == 0) {
            only_positionals = true;
        } else if (is_option) {
            if (!(text[1] == '-' ? take_long(&p, text + 2) : take_short(&p, text + 1))) return B2_PARSED_ERROR;
            if (p.wants_help) return B2_PARSED_HELP;
        } else if (args->n_positionals == syntax->max_positionals) {
            fail(error, "unexpected argument '%s': %s", text, syntax->if_more);
            return B2_PARSED_ERROR;
        } else {
            args->positionals[args->n_positionals++] = text;
        }
    }
    return B2_PARSED;
}

/* ---- for a command --------------------------------------------------------------------------------------------- */

static void print_help(const b2_syntax *syntax) {
    printf("%s Options:\n\n", syntax->help);
    for (const b2_option *o = syntax->options; o->name != NULL; o++) {
        char left[64], letter[5] = "    ";
        if (o->letter != '\0') snprintf(letter, sizeof letter, "-%c, ", o->letter);
        snprintf(left, sizeof left, "%s--%s %s", letter, o->name, o->value != NULL ? o->value : "");
        printf("  %-32s %s\n", left, o->help);
    }
}

bool b2_args_begin(const b2_syntax *syntax, int argc, char **argv, void *target, b2_args *args, int *code) {
    char error[B2_ARG_ERROR_BYTES];
    errno = 0;
    switch (b2_args_parse(syntax, argc, argv, target, args, error)) {
    case B2_PARSED: return true;
    case B2_PARSED_HELP:
        print_help(syntax);
        *code = b2_flush_stdout();
        return false;
    default:
        *code = errno != ENOMEM ? b2_fail_usage(argv[0], "%s", error) : B2_EXIT_MEMORY;
        if (*code == B2_EXIT_MEMORY) b2_say("no memory for the arguments");
        return false;
    }
}
