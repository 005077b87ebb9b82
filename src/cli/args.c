#include "cli/args.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const b2_option *find_long(const b2_option *options, const char *name, size_t len) {
    for (; options->id != 0; options++)
        if (strlen(options->name) == len && memcmp(options->name, name, len) == 0) return options;
    return NULL;
}

static const b2_option *find_short(const b2_option *options, char letter) {
    for (; options->id != 0; options++)
        if (options->letter == letter) return options;
    return NULL;
}

/* The option's value: what follows it in the same argument, or the next argument. */
static int take_value(b2_args *args, const b2_option *option, const char *attached, const char **value) {
    *value = attached;
    if (option->value == NULL && attached == NULL) return option->id;
    if (option->value == NULL) {
        snprintf(args->error, sizeof args->error, "--%s takes no value", option->name);
        return B2_ARG_ERROR;
    }
    if (attached == NULL && args->at < args->argc) *value = args->argv[args->at++];
    if (*value != NULL) return option->id;
    snprintf(args->error, sizeof args->error, "--%s needs a value (%s)", option->name, option->value);
    return B2_ARG_ERROR;
}

static int next_long(b2_args *args, const char *text, const char **value) {
    const char *equals = strchr(text, '=');
    const size_t len = equals != NULL ? (size_t)(equals - text) : strlen(text);
    const b2_option *option = find_long(args->options, text, len);
    if (option != NULL) return take_value(args, option, equals != NULL ? equals + 1 : NULL, value);
    snprintf(args->error, sizeof args->error, "unknown option --%.*s", (int)len, text);
    return B2_ARG_ERROR;
}

static int next_short(b2_args *args, const char **value) {
    const char letter = *args->cluster++;
    const b2_option *option = find_short(args->options, letter);
    const char *rest = *args->cluster != '\0' ? args->cluster : NULL;
    if (option == NULL) {
        snprintf(args->error, sizeof args->error, "unknown option -%c", letter);
        return B2_ARG_ERROR;
    }
    if (option->value == NULL) {
        args->cluster = rest;
        *value = NULL;
        return option->id;
    }
    args->cluster = NULL;
    return take_value(args, option, rest, value);
}

int b2_args_next(b2_args *args, const char **value) {
    if (args->cluster != NULL) return next_short(args, value);
    if (args->at >= args->argc) return B2_ARG_END;
    const char *text = args->argv[args->at++];
    *value = text;
    if (args->only_positionals || text[0] != '-' || text[1] == '\0') return B2_ARG_POSITIONAL;
    if (text[1] != '-') {
        args->cluster = text + 1;
        return next_short(args, value);
    }
    if (text[2] != '\0') return next_long(args, text + 2, value);
    args->only_positionals = true;
    return b2_args_next(args, value);
}

bool b2_args_number(b2_args *args, const char *name, const char *value, long low, long high, long *number) {
    char *end;
    errno = 0;
    *number = strtol(value, &end, 10);
    if (end != value && *end == '\0' && errno == 0 && *number >= low && *number <= high) return true;
    snprintf(args->error, sizeof args->error, "--%s: expected a number from %ld to %ld, got '%s'", name, low, high, value);
    return false;
}

void b2_args_print_options(const b2_option *options) {
    for (; options->id != 0; options++) {
        char left[64];
        const int n = options->letter != '\0' ? snprintf(left, sizeof left, "-%c, --%s", options->letter, options->name)
                                              : snprintf(left, sizeof left, "    --%s", options->name);
        if (options->value != NULL && n > 0) snprintf(left + n, sizeof left - (size_t)n, " %s", options->value);
        printf("  %-32s %s\n", left, options->help);
    }
}
