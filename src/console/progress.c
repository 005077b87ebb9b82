/* progress.c: redrawn at most ten times a second on a terminal; a log gets a line every half minute. */
#include "console/progress.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

enum { BAR_CELLS = 24 };
static const int64_t redraw_ns = 100000000, line_ns = 30000000000;

void b2_progress_start(b2_progress *p, const char *unit, uint64_t total, bool quiet) {
    *p = (b2_progress){.unit = unit, .total = total, .quiet = quiet, .is_terminal = isatty(STDERR_FILENO) == 1};
    p->start_ns = p->last_ns = b2_clock_ns();
}

double b2_progress_seconds(const b2_progress *p) { return (double)(b2_clock_ns() - p->start_ns) * 1e-9; }

static void print_count(const b2_progress *p, double rate) {
    if (p->unit == NULL)
        fprintf(stderr, "%.1f/%.1f GB  %.0f MB/s", (double)p->done * 1e-9, (double)p->total * 1e-9, rate * 1e-6);
    else if (p->total == 0) fprintf(stderr, "%" PRIu64 " %s  %.2f/s", p->done, p->unit, rate);
    else fprintf(stderr, "%" PRIu64 "/%" PRIu64 " %s  %.2f/s", p->done, p->total, p->unit, rate);
    if (p->failed > 0) fprintf(stderr, "  %" PRIu64 " failed", p->failed);
    if (rate > 0 && p->done < p->total) {
        const uint64_t left = (uint64_t)((double)(p->total - p->done) / rate);
        if (left < 3600) fprintf(stderr, "  %" PRIu64 ":%02" PRIu64 " left", left / 60, left % 60);
        else fprintf(stderr, "  %" PRIu64 " h %02" PRIu64 " min left", left / 3600, left / 60 % 60);
    }
}

void b2_progress_update(b2_progress *p, uint64_t done, uint64_t failed) {
    p->done = done;
    p->failed = failed;
    const int64_t now = b2_clock_ns();
    if (p->quiet || now - p->last_ns < (p->is_terminal ? redraw_ns : line_ns)) return;
    p->last_ns = now;
    const double seconds = b2_progress_seconds(p), rate = seconds > 0 ? (double)done / seconds : 0;
    if (!p->is_terminal) {
        fputs("blip2: ", stderr);
        print_count(p, rate);
        putc('\n', stderr);
        return;
    }
    const int full = p->total > 0 ? (int)((double)done / (double)p->total * BAR_CELLS) : 0;
    fputs("\r\033[K", stderr);
    if (p->total > 0) putc('[', stderr);
    for (int i = 0; i < BAR_CELLS && p->total > 0; i++) putc(i < full ? '#' : '.', stderr);
    if (p->total > 0) fputs("] ", stderr);
    print_count(p, rate);
    fflush(stderr);
    p->is_drawn = true;
}

void b2_progress_clear(b2_progress *p) {
    if (p->is_drawn) fputs("\r\033[K", stderr);
    p->is_drawn = false;
}
