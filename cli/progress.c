/* SPDX-License-Identifier: Apache-2.0 */
/* The progress bar and its plain form: a line per epoch and every ten seconds. */
#include "cli/progress.h"

#include "core/base/clock.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define BAR_PERIOD_NS 100000000u
#define LINE_PERIOD_NS UINT64_C(10000000000)
#define BAR_WIDTH 24

void ls_progress_begin(struct ls_progress_view *view)
{
    view->terminal = isatty(STDERR_FILENO) == 1;
    view->shown_ns = view->began_ns = ls_clock_now_ns();
    view->first_step = UINT64_MAX;
}

static void print_numbers(const struct ls_progress_view *view, const struct ls_step_report *report)
{
    const char *prefix = report->validation ? "val_" : "";

    fprintf(stderr, "%sloss %.4f", prefix, report->loss);
    for (int m = 0; m < report->metric_count && m < view->metric_count; m++)
        fprintf(stderr, "  %s%s %.4f", prefix, view->metric_names[m], report->metrics[m]);
}

static void print_time_left(const struct ls_progress_view *view, const struct ls_step_report *report)
{
    double spent = (double)(ls_clock_now_ns() - view->began_ns) * 1e-9;
    int64_t done = (int64_t)(report->step - view->first_step), left = view->total_steps - (int64_t)report->step;
    double seconds = done > 0 ? spent / (double)done * (double)left : 0;

    if (report->samples_per_s > 0)
        fprintf(stderr, "  %.0f samples/s", report->samples_per_s);
    if (done > 0 && left > 0)
        fprintf(stderr, "  %d:%02d left", (int)seconds / 60, (int)seconds % 60);
}

static void draw_bar(const struct ls_progress_view *view, int64_t in_epoch)
{
    int64_t full = view->steps_per_epoch > 0 ? in_epoch * BAR_WIDTH / view->steps_per_epoch : BAR_WIDTH;
    char bar[BAR_WIDTH + 1];

    full = full < 0 ? 0 : full > BAR_WIDTH ? BAR_WIDTH : full; /* the report is a worker's word */
    memset(bar, '.', BAR_WIDTH);
    memset(bar, '=', (size_t)full);
    bar[BAR_WIDTH] = '\0';
    fprintf(stderr, "[%s] ", bar);
}

void ls_progress_report(struct ls_progress_view *view, const struct ls_step_report *report)
{
    uint64_t now = ls_clock_now_ns();
    int64_t in_epoch = (int64_t)(report->step - report->epoch * (uint64_t)view->steps_per_epoch);
    bool ends = report->validation || in_epoch == view->steps_per_epoch || (int64_t)report->step == view->total_steps;

    if (view->first_step == UINT64_MAX)
        view->first_step = report->step - 1;
    if (view->quiet || (!ends && now - view->shown_ns < (view->terminal ? BAR_PERIOD_NS : LINE_PERIOD_NS)))
        return;
    view->shown_ns = now;
    fprintf(stderr, "%sepoch %llu/%lld  step %lld/%lld  ", view->terminal ? "\r\033[K" : "",
            (unsigned long long)report->epoch + 1, (long long)view->epochs, (long long)in_epoch,
            (long long)view->steps_per_epoch);
    if (view->terminal)
        draw_bar(view, in_epoch);
    print_numbers(view, report);
    if (!report->validation)
        print_time_left(view, report);
    view->line_open = view->terminal && !ends;
    if (!view->line_open)
        fputc('\n', stderr);
}

void ls_progress_say(struct ls_progress_view *view, const char *sentence)
{
    if (view->quiet)
        return;
    fprintf(stderr, "%s%s\n", view->line_open ? "\n" : "", sentence);
    view->line_open = false;
}

void ls_progress_end(struct ls_progress_view *view)
{
    if (view->line_open)
        fputc('\n', stderr);
    view->line_open = false;
}
