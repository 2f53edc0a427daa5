/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conformance_collective_streams PROVIDER threads|processes WORLD (mpirun: mpi launched REPLICAS): requests as fences
 * of a device's stream, over every provider. Results are consumed on a stream while the member starts and waits for
 * other operations; a group that was aborted, or whose member died, fails the stream with the culprit's name.
 */
#include "tests/conformance/board.h"
#include "tests/conformance/team.h"

#include "core/base/clock.h"
#include "core/base/str.h"
#include "core/device/stream.h"

#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#define SLOTS 4
#define ROUNDS 40
#define MOST 30000
#define LONG_NS UINT64_C(60000000000)
static int expect(int rank, const char *what, enum ls_status status, enum ls_status wanted, const char *name,
                  const struct ls_error *err)
{
    if (status == wanted && (name == NULL || strstr(err->message, name) != NULL))
        return 0;
    fprintf(stderr, "rank %d, %s: status %d, wanted %d with \"%s\": %s\n", rank, what, status, wanted,
            name != NULL ? name : "", err->message);
    return 1;
}

/* The stream of this member knows of the mishap. The simulator's time passes when all members wait. */
static int expect_soon(const struct team *team, int rank)
{
    return team->network == NULL ? board_soon(rank) : 0;
}

/* A member with a device and a stream. */
struct side {
    struct team *team;
    int rank;
    struct ls_group *group;
    struct ls_device *device;
    struct ls_device_stream *stream;
};

static bool open_side(struct side *side, struct team *team, int rank)
{
    struct ls_device_stream_options options = LS_DEVICE_STREAM_OPTIONS_DEFAULT;
    struct ls_error err = LS_ERROR_INIT;

    *side = (struct side){.team = team, .rank = rank, .group = team_join(team, rank)};
    options.name = "update";
    options.capacity = 6;
    if (side->group != NULL && ls_device_open("cpu", NULL, &side->device, &err) == LS_OK &&
        ls_device_stream_create(side->device, &options, &side->stream, &err) == LS_OK)
        return true;
    fprintf(stderr, "rank %d: %s\n", rank, err.message);
    return false;
}

static void close_side(struct side *side)
{
    ls_device_stream_destroy(side->stream);
    ls_device_close(side->device);
    ls_group_destroy(side->group);
}

static enum ls_status count_up(void *state, struct ls_error *err)
{
    (void)err;
    ++*(int *)state;
    return LS_OK;
}

/* One of the operations that are under way at once, and what the stream does with its result. */
struct slot {
    float src[MOST], sum[MOST], doubled[MOST];
    struct ls_view in[2], out;
    struct ls_op_call call;
    struct ls_fence done;
    int64_t count;
    int round;
};

static const float two = 2;

static float given(int rank, int round, int64_t i)
{
    return (float)((rank + 1) * (round + 1) + (int)(i % 100));
}

/* Starts the sum of a round and hands it to the stream, which doubles it. */
static int hand_over(struct side *side, struct slot *slot, int round)
{
    static const int64_t counts[] = {1, 700, 5000, MOST};
    struct ls_error err = LS_ERROR_INIT;
    struct ls_request *request = NULL;
    int failures;

    slot->round = round;
    slot->count = counts[round % 4];
    for (int64_t i = 0; i < slot->count; i++)
        slot->src[i] = given(side->rank, round, i);
    slot->in[0] = (struct ls_view){LS_F32, LS_SHAPE(slot->count), slot->sum};
    slot->in[1] = (struct ls_view){LS_F32, LS_SHAPE_SCALAR, (void *)(uintptr_t)&two};
    slot->out = (struct ls_view){LS_F32, LS_SHAPE(slot->count), slot->doubled};
    slot->call = (struct ls_op_call){.op = LS_OP_MUL, .in = slot->in, .in_count = 2, .out = &slot->out, .out_count = 1};
    struct ls_collective op = {
        .kind = LS_ALL_REDUCE, .dtype = LS_F32, .count = slot->count, .src = slot->src, .dst = slot->sum};
    failures = expect(side->rank, "start", ls_group_start(side->group, &op, &request, &err), LS_OK, NULL, &err);
    if (failures > 0)
        return failures;
    failures += expect(side->rank, "wait on a stream", ls_request_wait_on_stream(request, side->stream, &err), LS_OK,
                       NULL, &err);
    failures += expect(side->rank, "run", ls_device_stream_run(side->stream, &slot->call, &err), LS_OK, NULL, &err);
    slot->done = ls_device_stream_record(side->stream);
    return failures;
}

/* The host waits for the event behind a slot's work and looks at what the stream made. */
static int take_back(struct side *side, struct slot *slot)
{
    struct ls_error err = LS_ERROR_INIT;
    int failures =
        expect(side->rank, "event", ls_fence_wait(&slot->done, ls_clock_now_ns() + LONG_NS, &err), LS_OK, NULL, &err);

    for (int64_t i = 0; i < slot->count && failures == 0; i++) {
        float sum = 0;
        for (int r = 0; r < side->team->world; r++)
            sum += given(r, slot->round, i);
        if (slot->doubled[i] == 2 * sum)
            continue;
        fprintf(stderr, "rank %d, round %d: element %lld is %g\n", side->rank, slot->round, (long long)i,
                (double)slot->doubled[i]);
        failures++;
    }
    return failures;
}

/* An operation that the member itself waits for, while the stream waits for those before it. */
static int run_beside(struct side *side, int round)
{
    struct ls_collective op = {.kind = LS_ALL_REDUCE, .dtype = LS_I32, .count = 1};
    struct ls_error err = LS_ERROR_INIT;
    int32_t one = 1, sum = 0;
    struct ls_request *request = NULL;
    struct ls_fence fence;
    int failures;

    op.src = &one;
    op.dst = &sum;
    if (round % 3 == 0)
        failures = expect(side->rank, "run", ls_group_run(side->group, &op, &err), LS_OK, NULL, &err);
    else {
        failures = expect(side->rank, "start", ls_group_start(side->group, &op, &request, &err), LS_OK, NULL, &err);
        if (failures > 0)
            return failures;
        failures += expect(side->rank, "fence", ls_request_fence(request, &fence, &err), LS_OK, NULL, &err);
        for (int looks = 0; round % 3 == 1 && looks < 1000 && ls_fence_test(&fence, &err) == LS_EAGAIN; looks++)
            (void)sched_yield(); /* the simulator's time passes only in waits */
        failures +=
            expect(side->rank, "fence", ls_fence_wait(&fence, ls_clock_now_ns() + LONG_NS, &err), LS_OK, NULL, &err);
        failures += expect(side->rank, "wait", ls_request_wait(request, &err), LS_OK, NULL, &err);
        failures += expect(side->rank, "ended", ls_fence_test(&fence, &err), LS_OK, NULL, &err);
    }
    if (sum == side->team->world)
        return failures;
    fprintf(stderr, "rank %d, round %d: %d members\n", side->rank, round, sum);
    return failures + 1;
}

/* Sums are consumed on the stream, several under way, while the member starts and waits for others. */
static int consume(struct team *team, int rank, void *argument)
{
    struct slot *slots = argument;
    struct side side;
    int failures = 0;

    if (!open_side(&side, team, rank))
        return 1;
    slots += (ptrdiff_t)rank * SLOTS;
    for (int round = 0; round < ROUNDS && failures == 0; round++) {
        if (round >= SLOTS)
            failures += take_back(&side, &slots[round % SLOTS]);
        failures += hand_over(&side, &slots[round % SLOTS], round);
        if (round % 2 == 1)
            failures += run_beside(&side, round);
    }
    for (int i = 0; i < SLOTS && failures == 0; i++)
        failures += take_back(&side, &slots[i]);
    if (failures > 0)
        ls_group_abort(side.group, "the test has failed");
    close_side(&side);
    return failures;
}

/* A member whose stream waits for a barrier that the last rank never joins, with work before the wait and behind it. */
struct vain {
    struct side side;
    struct ls_fence before;
    int count; /* works that have run */
    bool waits;
};

static int wait_in_vain(struct vain *vain)
{
    struct ls_collective barrier = {.kind = LS_BARRIER};
    struct ls_error err = LS_ERROR_INIT;
    struct ls_request *request = NULL;
    struct side *side = &vain->side;
    int failures = expect(side->rank, "first", ls_group_run(side->group, &barrier, &err), LS_OK, NULL, &err);

    failures += expect(side->rank, "call", ls_device_stream_call(side->stream, "count", count_up, &vain->count, &err),
                       LS_OK, NULL, &err);
    vain->before = ls_device_stream_record(side->stream);
    if (failures > 0 || !vain->waits)
        return failures;
    failures += expect(side->rank, "start", ls_group_start(side->group, &barrier, &request, &err), LS_OK, NULL, &err);
    failures += expect(side->rank, "wait on a stream", ls_request_wait_on_stream(request, side->stream, &err), LS_OK,
                       NULL, &err);
    failures += expect(side->rank, "call", ls_device_stream_call(side->stream, "count", count_up, &vain->count, &err),
                       LS_OK, NULL, &err);
    return failures;
}

/* A member of such a case: `mishap` is its part, and the number of checks that failed in it. */
static int in_vain(struct team *team, int rank, int (*mishap)(struct vain *vain))
{
    struct vain vain = {.waits = rank < team->world - 1};
    int failures;

    if (!open_side(&vain.side, team, rank))
        return 1;
    failures = wait_in_vain(&vain);
    atomic_fetch_add(&board->ready, 1);
    failures += mishap(&vain);
    atomic_fetch_add(&board->ended, 1);
    board_until(&board->ended, team->world);
    close_side(&vain.side);
    return failures;
}

/* The stream has failed by that name, without a step of the work behind its wait. */
static int failed_stream(const struct vain *vain, enum ls_status wanted, const char *name)
{
    struct ls_error err = LS_ERROR_INIT;
    int rank = vain->side.rank, failures = 0;

    failures += expect(rank, "synchronize", ls_device_stream_synchronize(vain->side.stream, &err), wanted, name, &err);
    failures += expect(rank, "before", ls_fence_test(&vain->before, &err), LS_OK, NULL, &err);
    if (vain->count != 1) {
        fprintf(stderr, "rank %d: %d works have run, not one\n", rank, vain->count);
        failures++;
    }
    return failures;
}

/* Once all streams wait. */
static void mark(const struct team *team)
{
    board_until(&board->ready, team->world);
    board_mark();
}

static int abort_it(struct vain *vain)
{
    static const char why[] = "the operator said so";
    struct ls_collective barrier = {.kind = LS_BARRIER};
    struct ls_error err = LS_ERROR_INIT;
    const struct side *side = &vain->side;
    int failures;

    if (!vain->waits) {
        board_until(&board->ended, side->team->world - 1); /* it would complete what the others wait for */
        return 0;
    }
    if (side->rank == 0) {
        mark(side->team);
        ls_group_abort(side->group, why);
    }
    failures = failed_stream(vain, LS_EINTERRUPTED, why) + expect_soon(side->team, side->rank);
    return failures +
           expect(side->rank, "afterwards", ls_group_run(side->group, &barrier, &err), LS_EINTERRUPTED, why, &err);
}

/* Rank 0 aborts the group while the streams wait: all of them say so. */
static int aborted(struct team *team, int rank, void *argument)
{
    (void)argument;
    return in_vain(team, rank, abort_it);
}

static int close_it(struct vain *vain)
{
    struct side *side = &vain->side;

    if (side->rank != 0)
        return vain->waits
                   ? failed_stream(vain, LS_EINTERRUPTED, "stream update was closed while it waited for operation")
                   : 0;
    mark(side->team);
    ls_device_stream_destroy(side->stream);
    side->stream = NULL;
    return expect_soon(side->team, side->rank);
}

/* Rank 0 destroys its stream in the middle of a wait: its group ends, the others' streams know why. */
static int closed(struct team *team, int rank, void *argument)
{
    (void)argument;
    return in_vain(team, rank, close_it);
}

static int miss_it(struct vain *vain)
{
    return vain->waits ? failed_stream(vain, LS_ETIMEOUT, "for rank 2 (worker 102") : 0;
}

/* The last rank stays away for longer than the group's deadline: the streams of the others name it. */
static int silent(struct team *team, int rank, void *argument)
{
    (void)argument;
    return in_vain(team, rank, miss_it);
}

static int lose_it(struct vain *vain)
{
    const struct side *side = &vain->side;

    if (!vain->waits)
        board_until(&board->ended, side->team->world); /* for ever */
    return failed_stream(vain, LS_EPEER, "rank 2 (worker 102") + expect_soon(side->team, side->rank);
}

/* The last rank is killed while the streams of the others wait. */
static int bereft(struct team *team, int rank, void *argument)
{
    (void)argument;
    return in_vain(team, rank, lose_it);
}

/* A stream waits for an operation of a sub-group; the last rank, which is not in it, ends the whole. */
static int split(struct team *team, int rank, void *argument)
{
    struct ls_collective barrier = {.kind = LS_BARRIER};
    struct ls_error err = LS_ERROR_INIT;
    struct ls_request *request = NULL;
    struct ls_group *part = NULL;
    struct side side;
    int last = team->world - 1, failures;

    (void)argument;
    if (!open_side(&side, team, rank))
        return 1;
    failures =
        expect(rank, "split", ls_group_split(side.group, rank == last ? -1 : 1, 0, &part, &err), LS_OK, NULL, &err);
    for (int i = 0; i < 2 && rank != last && failures == 0; i++) {
        if (i == 1 && rank != 0)
            break; /* only rank 0 starts the second one */
        failures += expect(rank, "start", ls_group_start(part, &barrier, &request, &err), LS_OK, NULL, &err);
        failures +=
            expect(rank, "wait on a stream", ls_request_wait_on_stream(request, side.stream, &err), LS_OK, NULL, &err);
    }
    if (rank != 0 && rank != last)
        failures += expect(rank, "first", ls_device_stream_synchronize(side.stream, &err), LS_OK, NULL, &err);
    atomic_fetch_add(&board->ready, 1);
    if (rank == last) {
        mark(team);
        ls_group_abort(side.group, "the operator said so");
    } else if (rank == 0)
        failures += expect(rank, "second", ls_device_stream_synchronize(side.stream, &err), LS_EINTERRUPTED,
                           "the operator said so", &err) +
                    expect_soon(team, rank);
    atomic_fetch_add(&board->ended, 1);
    board_until(&board->ended, team->world);
    ls_device_stream_destroy(side.stream);
    side.stream = NULL;
    ls_group_destroy(part);
    close_side(&side);
    return failures;
}

static int kill_last(struct team *team)
{
    pid_t pids[LS_MAX_MEMBERS];
    int failures = 0;

    for (int r = 0; r < team->world; r++)
        pids[r] = team_spawn(team, r, bereft, NULL);
    mark(team);
    kill(pids[team->world - 1], SIGKILL);
    atomic_fetch_add(&board->ended, 1); /* for it */
    for (int r = 0; r < team->world; r++) {
        int status = 0;
        waitpid(pids[r], &status, 0);
        failures += r < team->world - 1 && status != 0;
    }
    return failures;
}

static int run_case(struct team *team, const char *kind, const char *name, team_member member, void *argument)
{
    int failures;

    board_clear();
    team->generation++;
    if (member == bereft)
        failures = kill_last(team);
    else
        failures = strcmp(kind, "threads") == 0 ? team_run_threads(team, member, argument)
                                                : team_run_processes(team, member, argument);
    printf("%s %s: %s", team->name, name, failures == 0 ? "ok" : "FAILED");
    board_print();
    printf("\n");
    fflush(stdout); /* children must not inherit it */
    return failures;
}

static const struct {
    const char *name;
    team_member member;
    int world;      /* 0: as asked for */
    bool processes; /* only as processes */
} cases[] = {
    {"consume", consume, 0, false}, {"aborted", aborted, 3, false}, {"closed", closed, 3, false},
    {"silent", silent, 3, false},   {"split", split, 3, false},     {"killed", bereft, 3, true},
};

int main(int argc, char **argv)
{
    static struct slot slots[16 * SLOTS];
    int64_t world = 2;
    int failures = 0;

    if (argc < 4 || !ls_str_to_i64(argv[3], &world) || world < 1 || world > 16) {
        fprintf(stderr, "usage: %s PROVIDER threads|processes WORLD\n", argv[0]);
        return 2;
    }
    if (strcmp(argv[2], "launched") == 0) {
        struct team team;
        team_name(&team, argv[1]);
        return team_run_launched(&team, (int)world, consume, slots) != 0;
    }
    if (!board_open())
        return 2;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct team team;
        if ((cases[i].world > 0 && world == 1) || (cases[i].processes && strcmp(argv[2], "processes") != 0))
            continue;
        if (!team_init(&team, argv[1], cases[i].world > 0 ? cases[i].world : (int)world))
            return 2;
        /* The simulator's time passes when all members wait; collective_sim has what happens where one does not. */
        if ((cases[i].member == split || cases[i].member == silent) && team.network != NULL) {
            team_deinit(&team);
            continue;
        }
        if (cases[i].member == silent)
            team.wait_deadline_ms = 300;
        failures += run_case(&team, argv[2], cases[i].name, cases[i].member, slots);
        team_deinit(&team);
    }
    return failures != 0;
}
