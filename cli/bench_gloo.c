/* SPDX-License-Identifier: Apache-2.0 */
/* See bench_gloo.h. Gloo lives in a python process of its own, so the sides cannot alternate within a round: each of
 * TURNS turns runs both for a part of the rounds, and a ratio is that of one turn. */
#include "cli/bench_gloo.h"

#include "cli/capture.h"
#include "collective/bench.h"
#include "core/base/fs.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TURNS 5
#define SCRIPT "tests/bench/gloo.py"

struct side {
    double us[LS_BENCH_MAX_SIZES][TURNS];
};

static enum ls_status run_side(char *const *argv, const char *variant, int turn, int sizes, struct side *side,
                               struct ls_error *err)
{
    struct ls_buf out = {0};
    json_t *json = NULL, *row;
    size_t i;
    int at = 0;
    enum ls_status status = ls_capture(argv, LS_CAPTURE_MS, &out, err);

    if (status == LS_OK)
        json = ls_last_json_line((const char *)out.data);
    json_array_foreach(json_object_get(json, "rows"), i, row)
    {
        const char *name = json_string_value(json_object_get(row, "name"));
        if (at < sizes && (name == NULL || strcmp(name, variant) == 0))
            side->us[at++][turn] = json_number_value(json_object_get(row, "us"));
    }
    json_decref(json);
    ls_buf_deinit(&out);
    if (status == LS_OK && at != sizes)
        status = ls_error_set(err, LS_EIO, "%s printed %d of %d figures", argv[0], at, sizes);
    return status;
}

static enum ls_status run_turn(const struct ls_bench_allreduce *bench, const char *sizes, int turn, struct side *ours,
                               struct side *theirs, struct ls_error *err)
{
    const char *python = getenv("LOCKSTEP_PYTHON");
    char own_ranks[32], own_rounds[32], own_sizes[320], own_backend[32];
    char *argv[] = {"/proc/self/exe", "bench",    "allreduce", own_backend, own_ranks,
                    own_sizes,        own_rounds, "--json",    NULL};
    char *script[] = {
        (char *)(uintptr_t)(python != NULL ? python : "python3"), SCRIPT, own_ranks, own_sizes, own_rounds, NULL};
    int rounds = (bench->rounds + TURNS - 1) / TURNS;
    enum ls_status status;

    (void)snprintf(own_ranks, sizeof own_ranks, "--ranks=%d", bench->ranks);
    (void)snprintf(own_rounds, sizeof own_rounds, "--rounds=%d", rounds);
    (void)snprintf(own_sizes, sizeof own_sizes, "--sizes=%s", sizes);
    (void)snprintf(own_backend, sizeof own_backend, "--backend=%s", bench->backend);
    status = run_side(argv, strcmp(bench->backend, "shm") == 0 ? "shm, registered" : bench->backend, turn,
                      bench->size_count, ours, err);
    if (status != LS_OK)
        return status;
    status = run_side(script, "", turn, bench->size_count, theirs, err);
    return status == LS_OK ? LS_OK
                           : ls_error_wrap(err, "the race needs a python3 with torch (LOCKSTEP_PYTHON names one)");
}

static void report(const struct ls_bench_allreduce *bench, int i, const struct side *ours, const struct side *theirs,
                   json_t *rows)
{
    struct ls_bench_figure own = ls_bench_figure_of(ours->us[i], TURNS);
    struct ls_bench_figure other = ls_bench_figure_of(theirs->us[i], TURNS);
    struct ls_bench_figure ratio = ls_bench_ratio_of(ours->us[i], theirs->us[i], TURNS);

    (void)json_array_append_new(rows,
                                json_pack("{s:I, s:f, s:f, s:f, s:f, s:f, s:f}", "bytes", (json_int_t)bench->sizes[i],
                                          "us", own.median, "gloo_us", other.median, "gloo_us_min", other.least,
                                          "x_gloo", ratio.median, "x_gloo_min", ratio.least, "x_gloo_max", ratio.most));
    if (!bench->json)
        printf("%11lld %11.2f [%9.2f,%10.2f] %11.2f [%9.2f,%10.2f]  %6.3f [%5.2f,%6.2f]\n", (long long)bench->sizes[i],
               own.median, own.least, own.most, other.median, other.least, other.most, ratio.median, ratio.least,
               ratio.most);
}

enum ls_status ls_bench_gloo(const struct ls_bench_allreduce *bench, const char *sizes, struct ls_error *err)
{
    static struct side ours, theirs;
    json_t *rows = json_array(), *o;
    enum ls_status status = LS_OK;

    if (!ls_fs_exists(SCRIPT))
        status = ls_error_set(err, LS_ENOENT, SCRIPT " is not here; run the race from the project's root");
    for (int turn = 0; turn < TURNS && status == LS_OK; turn++)
        status = run_turn(bench, sizes, turn, &ours, &theirs, err);
    if (status == LS_OK && !bench->json)
        printf("all-reduce (sum of float32) over %s and by PyTorch over Gloo, %d ranks, %d turns of %d rounds\n"
               "%11s %11s [%9s,%10s] %11s [%9s,%10s]  x Gloo\n",
               bench->backend, bench->ranks, TURNS, (bench->rounds + TURNS - 1) / TURNS, "bytes", "us", "fastest",
               "slowest", "Gloo us", "fastest", "slowest");
    for (int i = 0; i < bench->size_count && status == LS_OK; i++)
        report(bench, i, &ours, &theirs, rows);
    if (status == LS_OK && bench->json) {
        o = json_pack("{s:i, s:s, s:s, s:i, s:O}", "ranks", bench->ranks, "backend", bench->backend, "against", "gloo",
                      "turns", TURNS, "rows", rows);
        (void)json_dumpf(o, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
        putchar('\n');
        json_decref(o);
    }
    json_decref(rows);
    return status;
}
