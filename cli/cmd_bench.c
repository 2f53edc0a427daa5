/* SPDX-License-Identifier: Apache-2.0 */
/* lockstep bench WHAT: picks the bench. */
#include "cli/bench.h"

#include "cli/under_mpi.h"
#include "core/base/str.h"

#include <stdio.h>
#include <string.h>

static const struct ls_command *const benches[] = {&ls_bench_train, &ls_bench_allreduce, &ls_bench_overlap};
#define BENCH_COUNT (sizeof benches / sizeof benches[0])

/* "train" of "bench train" */
static const char *word_of(const struct ls_command *bench)
{
    return strchr(bench->name, ' ') + 1;
}

static enum ls_status help(const struct ls_command *command, struct ls_error *err)
{
    char word[] = "--help", *argv[] = {word, word, NULL};

    printf("Usage: lockstep bench %s\n\n%s.\n", command->arguments, command->summary);
    for (size_t i = 0; i < BENCH_COUNT; i++) {
        printf("\n");
        (void)benches[i]->run(benches[i], 2, argv, err);
    }
    return LS_EAGAIN;
}

static enum ls_status run_one(const struct ls_command *command, int argc, char **argv, struct ls_error *err)
{
    const char *names[BENCH_COUNT], *nearest;

    if (argc < 2)
        return ls_error_set(err, LS_EUSAGE, "which bench? lockstep bench %s", command->arguments);
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        return help(command, err);
    for (size_t i = 0; i < BENCH_COUNT; i++) {
        names[i] = word_of(benches[i]);
        if (strcmp(argv[1], names[i]) == 0)
            return benches[i]->run(benches[i], argc - 1, argv + 1, err);
    }
    nearest = ls_str_nearest(argv[1], names, BENCH_COUNT);
    if (nearest != NULL)
        return ls_error_set(err, LS_EUSAGE, "there is no bench \"%s\"; did you mean lockstep bench %s?", argv[1],
                            nearest);
    return ls_error_set(err, LS_EUSAGE, "there is no bench \"%s\": lockstep bench %s", argv[1], command->arguments);
}

static enum ls_status run(const struct ls_command *command, int argc, char **argv, struct ls_error *err)
{
    enum ls_status status = run_one(command, argc, argv, err);

    if ((status == LS_EUSAGE || status == LS_EUNSUPPORTED) && ls_under_mpi())
        ls_mpi_let_first_speak(status);
    return status;
}

const struct ls_command ls_cmd_bench = {.name = "bench",
                                        .arguments = "train|allreduce|overlap [options]",
                                        .summary = "Measure training or the collectives, alone or against others",
                                        .run = run};
