/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conformance_collective PROVIDER threads|processes WORLD [SEED [ROUNDS [exact|any-order|bf16 [CHOICES]]]]: forms a
 * group and runs the suite in every member. `mpirun -n N conformance_collective mpi launched REPLICAS ...`: mpirun
 * starts the processes.
 */
#include "tests/conformance/collective_suite.h"
#include "tests/conformance/team.h"

#include "core/base/str.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int run_member(struct team *team, int rank, void *argument)
{
    struct ls_collective barrier = {.kind = LS_BARRIER};
    struct ls_group *group = team_join(team, rank);
    struct ls_error err = LS_ERROR_INIT;
    int failures;

    if (group == NULL)
        return 1;
    failures = suite_run(group, argument);
    if (failures == 0)
        failures = ls_group_run(group, &barrier, &err) != LS_OK;
    ls_group_destroy(group);
    return failures;
}

static int number(const char *text, int otherwise)
{
    int64_t value;

    return text != NULL && ls_str_to_i64(text, &value) ? (int)value : otherwise;
}

int main(int argc, char **argv)
{
    struct team team;
    struct suite_options suite = {.max_count = 200000};
    int failures;

    if (argc < 4) {
        fprintf(stderr, "usage: %s PROVIDER threads|processes WORLD [SEED [ROUNDS [exact|any-order|bf16 [CHOICES]]]]\n",
                argv[0]);
        return 2;
    }
    suite.seed = (uint64_t)number(argc > 4 ? argv[4] : NULL, 1);
    suite.rounds = number(argc > 5 ? argv[5] : NULL, 60);
    suite.bf16_wire = argc > 6 && strcmp(argv[6], "bf16") == 0;
    suite.any_order = argc > 6 && strcmp(argv[6], "exact") != 0;
    if (argc > 7)
        (void)setenv("LOCKSTEP_COLLECTIVES", argv[7], 1);
    if (strcmp(argv[2], "launched") == 0) {
        team_name(&team, argv[1]);
        team.any_order = suite.any_order;
        team.bf16_wire = suite.bf16_wire;
        return team_run_launched(&team, number(argv[3], 1), run_member, &suite) != 0;
    }
    if (!team_init(&team, argv[1], number(argv[3], 2)))
        return 2;
    team.any_order = suite.any_order;
    team.bf16_wire = suite.bf16_wire;
    failures = strcmp(argv[2], "threads") == 0 ? team_run_threads(&team, run_member, &suite)
                                               : team_run_processes(&team, run_member, &suite);
    team_deinit(&team);
    return failures != 0;
}
