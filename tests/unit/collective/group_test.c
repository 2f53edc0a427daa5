/* SPDX-License-Identifier: Apache-2.0 */
/* What a group refuses, and how requests behave in a world of one. Worlds of many: tests/conformance. */
#include "collective/group_impl.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static struct ls_group *alone(void)
{
    static const struct ls_member member = {.worker = 7, .host = "here"};
    struct ls_group_options options = LS_GROUP_OPTIONS_DEFAULT;
    struct ls_error err = LS_ERROR_INIT;
    struct ls_group *group = NULL;

    options.members = &member;
    options.world = 1;
    options.generation = 3;
    cr_assert_eq(ls_group_create("self", &options, &group, &err), LS_OK, "%s", err.message);
    return group;
}

/* A group says what it is. */
Test(group, properties)
{
    struct ls_group *group = alone();

    cr_assert_eq(ls_group_world(group), 1);
    cr_assert_eq(ls_group_rank(group), 0);
    cr_assert_eq(ls_group_generation(group), 3);
    cr_assert_str_eq(ls_group_provider(group), "self");
    ls_group_destroy(group);
    ls_group_destroy(NULL);
}

/* Wrong options end in a sentence, not in a group. */
Test(group, refuses)
{
    static const struct ls_member members[2] = {{.worker = 1}, {.worker = 2}};
    struct ls_group_options options = LS_GROUP_OPTIONS_DEFAULT;
    struct ls_group *group = NULL;
    struct ls_error err = LS_ERROR_INIT;

    options.members = members;
    options.world = 2;
    cr_assert_eq(ls_group_create("pigeon", &options, &group, &err), LS_EUNSUPPORTED);
    cr_assert_not_null(strstr(err.message, "pigeon"));
    cr_assert_eq(ls_group_create("self", &options, &group, &err), LS_EINVAL);
    cr_assert_eq(ls_group_create("mpi", &options, &group, &err), LS_EUNSUPPORTED);
    cr_assert_not_null(strstr(err.message, "mpirun"));
    cr_assert_eq(ls_group_create("tcp", &options, &group, &err), LS_EINVAL);
    options.rendezvous = "/tmp/group";
    cr_assert_eq(ls_group_create("shm", &options, &group, &err), LS_EAUTH, "%s", err.message);
    options.rank = 2;
    cr_assert_eq(ls_group_create("shm", &options, &group, &err), LS_EINVAL);
    options.rank = 0;
    options.bf16_wire = true;
    cr_assert_eq(ls_group_create("tcp", &options, &group, &err), LS_EINVAL);
    cr_assert_not_null(strstr(err.message, "any_order"), "%s", err.message);
    cr_assert_null(group);
}

/* A deadline that would not fit the clock's nanoseconds is refused, and not taken for a short one. */
Test(group, refuses_absurd_deadlines)
{
    static const int64_t wrong[] = {0, -1, INT64_C(86400001), INT64_C(18446744073710), INT64_MAX};
    const struct ls_member member = {.worker = 1, .incarnation = 1};

    for (size_t i = 0; i < 2 * sizeof wrong / sizeof wrong[0]; i++) {
        struct ls_group_options options = LS_GROUP_OPTIONS_DEFAULT;
        struct ls_error err = LS_ERROR_INIT;
        struct ls_group *group = NULL;

        options.members = &member;
        options.world = 1;
        *(i % 2 == 0 ? &options.wait_deadline_ms : &options.form_deadline_ms) = wrong[i / 2];
        cr_expect_eq(ls_group_create("self", &options, &group, &err), LS_EINVAL, "%lld", (long long)wrong[i / 2]);
        cr_expect_not_null(strstr(err.message, "1 ms to a day"), "%s", err.message);
    }
}

/* The deadline of operations: never less than was asked for, ten of the slowest recent steps, a day at most. */
Test(group, waits_by_the_pace)
{
    static const struct {
        uint64_t step_ns;
        int64_t wait_ms;
    } all[] = {{1000000, 60000},
               {UINT64_C(6000000000), 60000},
               {UINT64_C(8000000000), 80000},
               {UINT64_C(6400000000), 79000}, /* shorter ones count by and by */
               {UINT64_C(90000000000), 900000},
               {UINT64_MAX, INT64_C(86400000)}};
    const struct ls_member member = {.worker = 1, .incarnation = 1};
    struct ls_group_options options = LS_GROUP_OPTIONS_DEFAULT;
    struct ls_group *group;

    options.members = &member;
    options.world = 1;
    cr_assert_eq(ls_group_create("self", &options, &group, NULL), LS_OK);
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        ls_group_set_pace(group, all[i].step_ns);
        cr_expect_eq(group->wait_deadline_ms, all[i].wait_ms, "%zu: %lld", i, (long long)group->wait_deadline_ms);
    }
    for (int i = 0; i < 2000; i++)
        ls_group_set_pace(group, 1000000);
    cr_expect_eq(group->wait_deadline_ms, 60000);
    ls_group_destroy(group);
}

/* Who carries bf16: messages always, hybrid between hosts, shared memory and NCCL never. */
Test(group, carries_bf16)
{
    static const struct {
        const char *provider;
        bool one_host, several;
    } all[] = {{"tcp", true, true},     {"mpi", true, true},         {"sim", true, true},
               {"hybrid", false, true}, {"hybrid-mpi", false, true}, {"hybrid-nccl", false, true},
               {"shm", false, false},   {"nccl", false, false},      {"self", false, false},
               {"pigeon", false, false}};

    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        cr_expect_eq(ls_provider_carries_bf16(all[i].provider, false), all[i].one_host, "%s", all[i].provider);
        cr_expect_eq(ls_provider_carries_bf16(all[i].provider, true), all[i].several, "%s", all[i].provider);
    }
}

/* A user's rows are known to the group alone, wherever they come from; an empty text is none. */
Test(group, ways_given)
{
    static const struct {
        const char *option, *environment;
        bool given;
    } all[] = {{NULL, NULL, false},
               {NULL, "", false},
               {"", "tcp/any/any/any=canonical", false},
               {"tcp/any/any/any=canonical", NULL, true},
               {NULL, "tcp/any/any/any=canonical", true}};
    struct ls_member self = {.worker = 1, .incarnation = 1};

    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        struct ls_group_options options = LS_GROUP_OPTIONS_DEFAULT;
        struct ls_group *group = NULL;

        if (all[i].environment != NULL)
            (void)setenv("LOCKSTEP_COLLECTIVES", all[i].environment, 1);
        options.members = &self;
        options.world = 1;
        options.collectives = all[i].option;
        cr_assert_eq(ls_group_create("self", &options, &group, NULL), LS_OK);
        cr_expect_eq(ls_group_ways_given(group), all[i].given, "%zu", i);
        ls_group_destroy(group);
        (void)unsetenv("LOCKSTEP_COLLECTIVES");
    }
}

/* A mistake in an operation is its caller's alone: the group goes on. */
Test(group, bad_operations)
{
    struct ls_group *group = alone();
    int64_t counts[] = {-1};
    float value = 1;
    float sum = 0;
    struct ls_collective bad[] = {
        {.kind = (enum ls_collective_kind)17},
        {.kind = LS_ALL_REDUCE, .dtype = LS_BOOL, .count = 1, .src = &value, .dst = &sum},
        {.kind = LS_ALL_REDUCE, .dtype = LS_F32, .count = -1, .src = &value, .dst = &sum},
        {.kind = LS_ALL_GATHER, .dtype = LS_F32, .src = &value, .dst = &sum, .counts = counts},
        {.kind = LS_ALL_GATHER, .dtype = LS_F32, .src = &value, .dst = &sum},
        {.kind = LS_BROADCAST, .dtype = LS_F32, .count = 1, .dst = &sum, .root = 1},
        {.kind = LS_ALL_REDUCE_TREE, .dtype = LS_F32, .count = 1, .dst = &sum},
    };
    struct ls_collective good = {.kind = LS_ALL_REDUCE, .dtype = LS_F32, .count = 1, .src = &value, .dst = &sum};
    struct ls_error err = LS_ERROR_INIT;

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        enum ls_status status = ls_group_run(group, &bad[i], &err);
        cr_assert(status == LS_EINVAL || status == LS_EUNSUPPORTED, "operation %zu: %d", i, (int)status);
    }
    cr_assert_eq(ls_group_run(group, &good, &err), LS_OK);
    cr_assert_eq(sum, 1);
    ls_group_destroy(group);
}

/* After an abort every operation ends with its reason, the first one. */
Test(group, abort)
{
    struct ls_group *group = alone();
    struct ls_collective barrier = {.kind = LS_BARRIER};
    struct ls_error err = LS_ERROR_INIT;

    cr_assert_eq(ls_group_run(group, &barrier, &err), LS_OK);
    ls_group_abort(group, "first");
    ls_group_abort(group, "second");
    cr_assert_eq(ls_group_run(group, &barrier, &err), LS_EINTERRUPTED);
    cr_assert_not_null(strstr(err.message, "first"));
    ls_group_destroy(group);
}

/* Requests that nobody waited for, as after a failed step, end with the group (the address sanitizer would tell). */
Test(group, requests_end_with_it)
{
    struct ls_group *group = alone();
    struct ls_collective barrier = {.kind = LS_BARRIER};
    struct ls_request *first, *forgotten;

    cr_assert_eq(ls_group_start(group, &barrier, &first, NULL), LS_OK);
    cr_assert_eq(ls_group_start(group, &barrier, &forgotten, NULL), LS_OK);
    cr_assert_eq(ls_request_wait(first, NULL), LS_OK);
    cr_assert_eq(ls_group_start(group, &barrier, &first, NULL), LS_OK);
    ls_group_abort(group, "somebody died");
    ls_group_destroy(group);
}

/* Parts of a result are disjoint, in order and cover it, for any count and world. */
Test(group, slices)
{
    for (int world = 1; world < 40; world++)
        for (int64_t count = 0; count < 3000000; count = count * 3 + 7) {
            int64_t end = 0;
            for (int r = 0; r < world; r++) {
                int64_t begin, length;
                lsi_slice(count, world, r, &begin, &length);
                cr_assert(begin == end && length >= 0);
                end = begin + length;
            }
            cr_assert_eq(end, count);
        }
}

/* Registered memory is zeroed, aligned, and of no use while an operation runs. */
Test(group, registered)
{
    struct ls_group *group = alone();
    struct ls_error err = LS_ERROR_INIT;
    void *memory = NULL;

    cr_assert_eq(ls_group_register(group, 1000, &memory, &err), LS_OK, "%s", err.message);
    cr_assert_eq((uintptr_t)memory % 64, 0);
    for (int i = 0; i < 1000; i++)
        cr_assert_eq(((uint8_t *)memory)[i], 0);
    cr_assert_eq(ls_group_register(group, 0, &memory, &err), LS_EINVAL);
    ls_group_destroy(group);
}
