/* SPDX-License-Identifier: Apache-2.0 */
/* The progress bar and its plain form: a line per epoch and every ten seconds. */
#include "cli/progress.h"

#include "core/base/clock.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define BAR_PERIOD_NS 100000000u
#define LINE_PERIOD_NS UINT64_C(10000000000)
#define BAR_WIDTH 24
#define BAR_LEAST 6

void ls_progress_begin(struct ls_progress_view *view)
{
    view->terminal = isatty(STDERR_FILENO) == 1;
    view->shown_ns = view->began_ns = ls_clock_now_ns();
    view->first_step = UINT64_MAX;
}

/* A line under construction; what does not fit is cut off. */
struct line {
    char text[512];
    size_t length;
};

__attribute__((format(printf, 2, 3))) static void add(struct line *line, const char *format, ...)
{
    size_t room = sizeof line->text - line->length;
    va_list words;
    int length;

    va_start(words, format);
    length = vsnprintf(line->text + line->length, room, format, words);
    va_end(words);
    if (length > 0)
        line->length += (size_t)length < room ? (size_t)length : room - 1;
}

/* Without the sign, which means nothing. */
static double shown_number(double number)
{
    return isnan(number) ? (double)NAN : number;
}

/* Four digits behind the point, where they say something. */
static void add_number(struct line *line, double number)
{
    bool plain = !isfinite(number) || number == 0 || (fabs(number) >= 1e-3 && fabs(number) < 1e7);

    add(line, plain ? "%.4f" : "%.3e", shown_number(number));
}

static void add_numbers(struct line *line, const struct ls_progress_view *view, const struct ls_step_report *report)
{
    const char *prefix = report->validation ? "val_" : "";

    add(line, "%sloss ", prefix);
    add_number(line, report->loss);
    for (int m = 0; m < report->metric_count && m < view->metric_count; m++) {
        add(line, "  %s%s ", prefix, view->metric_names[m]);
        add_number(line, report->metrics[m]);
    }
}

static void add_time_left(struct line *line, const struct ls_progress_view *view, const struct ls_step_report *report)
{
    double spent = (double)(ls_clock_now_ns() - view->began_ns) * 1e-9;
    int64_t done = (int64_t)(report->step - view->first_step), left = view->total_steps - (int64_t)report->step;
    double seconds = done > 0 ? spent / (double)done * (double)left : 0;

    if (done > 0 && left > 0)
        add(line, "  %lld:%02d left", (long long)seconds / 60, (int)((long long)seconds % 60));
}

static void add_speed(struct line *line, const struct ls_step_report *report)
{
    if (report->samples_per_s > 0)
        add(line, "  %.0f samples/s", report->samples_per_s);
}

/* Columns that a line may have: one that wraps could not be drawn over. */
static size_t columns(const struct ls_progress_view *view)
{
    struct winsize size;

    if (view->columns > 0)
        return (size_t)view->columns - 1;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col - 1u : 79;
}

/* The bar takes what the numbers leave, up to BAR_WIDTH; where little is left there is none. */
static void print_drawn(const struct ls_progress_view *view, const struct line *head, const struct line *tail,
                        int64_t in_epoch)
{
    size_t most = columns(view), used = head->length + tail->length + 3;
    size_t width = used < most ? most - used : 0;
    char bar[BAR_WIDTH + 1];
    size_t full;
    struct line line = {.length = 0};

    width = width > BAR_WIDTH ? BAR_WIDTH : width;
    /* The report is a worker's word. */
    in_epoch = in_epoch < 0 ? 0 : in_epoch > view->steps_per_epoch ? view->steps_per_epoch : in_epoch;
    full = view->steps_per_epoch > 0 ? (size_t)(in_epoch * (int64_t)width / view->steps_per_epoch) : width;
    memset(bar, '.', width);
    memset(bar, '=', full);
    bar[width] = '\0';
    if (width >= BAR_LEAST)
        add(&line, "%s[%s] %s", head->text, bar, tail->text);
    else
        add(&line, "%s%s", head->text, tail->text);
    fprintf(stderr, "\r\033[K%.*s", (int)most, line.text);
}

void ls_progress_report(struct ls_progress_view *view, const struct ls_step_report *report)
{
    uint64_t now = ls_clock_now_ns();
    int64_t in_epoch = (int64_t)(report->step - report->epoch * (uint64_t)view->steps_per_epoch);
    bool ends = report->validation || in_epoch == view->steps_per_epoch || (int64_t)report->step == view->total_steps;
    struct line head = {.length = 0}, tail = {.length = 0}, speed = {.length = 0};

    if (view->first_step == UINT64_MAX) {
        /* From here the speed is measured: what came before was the start. */
        view->first_step = report->step;
        view->began_ns = now;
    }
    if (view->quiet || (!ends && now - view->shown_ns < (view->terminal ? BAR_PERIOD_NS : LINE_PERIOD_NS)))
        return;
    view->shown_ns = now;
    add(&head, "epoch %llu/%lld  step %lld/%lld  ", (unsigned long long)report->epoch + 1, (long long)view->epochs,
        (long long)in_epoch, (long long)view->steps_per_epoch);
    add_numbers(&tail, view, report);
    if (!report->validation) {
        add_time_left(&tail, view, report);
        add_speed(&speed, report);
    }
    /* The speed stands in the summary too: it is the first to go where a line is short. */
    if (!view->terminal || head.length + tail.length + speed.length + BAR_LEAST + 3 <= columns(view))
        add(&tail, "%s", speed.text);
    if (view->terminal)
        print_drawn(view, &head, &tail, in_epoch);
    else
        fprintf(stderr, "%s%s", head.text, tail.text);
    view->line_open = view->terminal && !ends;
    if (!view->line_open)
        fputc('\n', stderr);
}

void ls_progress_say(struct ls_progress_view *view, const char *sentence)
{
    if (!view->quiet)
        ls_progress_warn(view, sentence);
}

void ls_progress_warn(struct ls_progress_view *view, const char *sentence)
{
    fprintf(stderr, "%s%s\n", view->line_open ? "\n" : "", sentence);
    view->line_open = false;
}

void ls_progress_end(struct ls_progress_view *view)
{
    if (view->line_open)
        fputc('\n', stderr);
    view->line_open = false;
}
