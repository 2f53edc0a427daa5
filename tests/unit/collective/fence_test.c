/* SPDX-License-Identifier: Apache-2.0 */
/* Requests as fences, by a provider whose operations end when the test says so. Real ones: tests/conformance. */
#include "collective/group_impl.h"
#include "core/base/alloc.h"
#include "core/base/clock.h"
#include "core/device/stream.h"

#include <criterion/criterion.h>
#include <sched.h>
#include <string.h>

#define LONG_NS UINT64_C(60000000000)

/* What the provider does and has done. */
static struct {
    _Atomic int open;     /* operations that may still complete */
    _Atomic int progress; /* calls */
    _Atomic int idle, aborted, destroyed;
    bool one_thread;
    bool spins; /* idle never sleeps */
} slow;

static enum ls_status slow_create(const struct ls_group_options *options, struct ls_group *group, void **state,
                                  struct ls_error *err)
{
    (void)options;
    (void)group;
    (void)err;
    *state = &slow;
    return LS_OK;
}

static enum ls_status slow_publish(void *state, struct ls_request *request, struct ls_error *err)
{
    (void)state;
    (void)request;
    (void)err;
    return LS_OK;
}

static enum ls_status slow_progress(void *state, struct ls_request *request, struct ls_error *err)
{
    (void)state;
    (void)err;
    atomic_fetch_add(&slow.progress, 1);
    if (atomic_load(&slow.open) == 0)
        return LS_EAGAIN;
    atomic_fetch_sub(&slow.open, 1);
    if (request->op.dst != NULL)
        ++*(int *)request->op.dst;
    return LS_OK;
}

static bool slow_idle(void *state, int round)
{
    (void)state;
    (void)round;
    atomic_fetch_add(&slow.idle, 1);
    (void)sched_yield();
    return !slow.spins;
}

static void slow_abort(void *state)
{
    (void)state;
    atomic_fetch_add(&slow.aborted, 1);
}

static void slow_destroy(void *state)
{
    (void)state;
    atomic_fetch_add(&slow.destroyed, 1);
}

static bool slow_one_thread(const void *state)
{
    (void)state;
    return slow.one_thread;
}

static const struct ls_provider_ops slow_provider = {
    .size = sizeof slow_provider,
    .abi = LSI_PROVIDER_ABI,
    .name = "slow",
    .create = slow_create,
    .publish = slow_publish,
    .progress = slow_progress,
    .idle = slow_idle,
    .abort = slow_abort,
    .destroy = slow_destroy,
    .one_thread = slow_one_thread,
};

static struct ls_group *group;
static struct ls_device *device;
static struct ls_device_stream *stream;

static void make(void)
{
    static const struct ls_member member = {.worker = 7, .host = "here"};
    struct ls_group_options options = LS_GROUP_OPTIONS_DEFAULT;
    struct ls_device_stream_options of_stream = LS_DEVICE_STREAM_OPTIONS_DEFAULT;

    options.members = &member;
    options.world = 1;
    options.generation = 3;
    of_stream.name = "update";
    of_stream.capacity = 8;
    cr_assert_eq(lsi_group_create(&slow_provider, &options, NULL, &group, NULL), LS_OK);
    cr_assert_eq(ls_device_open("ref", NULL, &device, NULL), LS_OK);
    cr_assert_eq(ls_device_stream_create(device, &of_stream, &stream, NULL), LS_OK);
}

static void end(void)
{
    ls_device_stream_destroy(stream);
    ls_device_close(device);
    ls_group_destroy(group);
    cr_assert_eq(atomic_load(&slow.destroyed), 1);
}

/* A barrier whose completion raises *done. */
static struct ls_request *started(int *done)
{
    struct ls_collective barrier = {.kind = LS_BARRIER, .dst = done};
    struct ls_request *request = NULL;

    cr_assert_eq(ls_group_start(group, &barrier, &request, NULL), LS_OK);
    return request;
}

static enum ls_status copy(void *state, struct ls_error *err)
{
    int *numbers = state;

    (void)err;
    numbers[1] = numbers[0];
    return LS_OK;
}

/* A fence of a request is reached when the operation has completed, also when the request is long gone. */
Test(fence, of_a_request, .init = make, .fini = end)
{
    struct ls_request *request = started(NULL), *next;
    struct ls_error err = LS_ERROR_INIT;
    struct ls_fence fence, later;
    char text[LS_FENCE_TEXT];

    cr_assert_eq(ls_request_fence(request, &fence, &err), LS_OK);
    cr_assert_eq(ls_fence_test(&fence, &err), LS_EAGAIN);
    cr_assert_eq(ls_fence_wait(&fence, 0, &err), LS_ETIMEOUT);
    cr_assert_not_null(strstr(err.message, "for operation 1 of rank 0, which goes on"), "%s", err.message);
    cr_assert_str_eq(ls_fence_text(&fence, text), "operation 1 of rank 0 of generation 3");
    atomic_store(&slow.open, 1);
    cr_assert_eq(ls_fence_wait(&fence, ls_clock_now_ns() + LONG_NS, &err), LS_OK);
    cr_assert_eq(ls_request_wait(request, &err), LS_OK);
    next = started(NULL);
    cr_assert_eq(next, request); /* used again */
    cr_assert_eq(ls_request_fence(next, &later, &err), LS_OK);
    cr_assert_eq(ls_fence_test(&fence, &err), LS_OK);
    cr_assert_eq(ls_fence_test(&later, &err), LS_EAGAIN);
    ls_group_abort(group, "enough");
    cr_assert_eq(ls_fence_test(&later, &err), LS_EINTERRUPTED);
    cr_assert_not_null(strstr(err.message, "enough"));
    cr_assert_eq(ls_fence_test(&fence, &err), LS_OK);
    cr_assert_eq(ls_request_wait(next, &err), LS_EINTERRUPTED);
}

/* Work behind a wait begins when the operation has completed, without anybody else who drives it. */
Test(fence, on_a_stream, .init = make, .fini = end)
{
    int numbers[2] = {0, -1};
    struct ls_request *request = started(&numbers[0]);
    struct ls_fence before, behind;

    cr_assert_eq(ls_request_wait_on_stream(request, stream, NULL), LS_OK);
    before = ls_device_stream_record(stream);
    cr_assert_eq(ls_device_stream_call(stream, "copy", copy, numbers, NULL), LS_OK);
    behind = ls_device_stream_record(stream);
    for (int seen = atomic_load(&slow.idle); atomic_load(&slow.idle) < seen + 100;)
        (void)sched_yield();
    cr_assert_eq(ls_fence_test(&before, NULL), LS_EAGAIN);
    atomic_store(&slow.open, 1);
    cr_assert_eq(ls_fence_wait(&behind, ls_clock_now_ns() + LONG_NS, NULL), LS_OK);
    cr_assert_eq(numbers[1], 1);
}

/* While a stream drives the group its member starts, tests and waits for other operations. */
Test(fence, beside_a_stream, .init = make, .fini = end)
{
    int numbers[2] = {0, -1};
    struct ls_request *second, *third;

    cr_assert_eq(ls_request_wait_on_stream(started(&numbers[0]), stream, NULL), LS_OK);
    cr_assert_eq(ls_device_stream_call(stream, "copy", copy, numbers, NULL), LS_OK);
    second = started(NULL);
    third = started(NULL);
    cr_assert_eq(ls_request_test(third, NULL), LS_EAGAIN);
    atomic_store(&slow.open, 3);
    cr_assert_eq(ls_request_wait(third, NULL), LS_OK);
    cr_assert_eq(ls_request_test(second, NULL), LS_OK);
    cr_assert_eq(ls_device_stream_synchronize(stream, NULL), LS_OK);
    cr_assert_eq(numbers[1], 1);
}

/* A stream and its member wait for one group, which nothing moves: each still loses patience at its own time, and the
 * provider's wait is made. */
Test(fence, patience_beside_a_stream, .init = make, .fini = end, .timeout = 60)
{
    struct ls_error err = LS_ERROR_INIT;
    struct ls_fence fence;
    struct ls_request *second;
    int idle;

    slow.spins = true;
    cr_assert_eq(ls_request_wait_on_stream(started(NULL), stream, NULL), LS_OK);
    second = started(NULL);
    cr_assert_eq(ls_request_fence(second, &fence, NULL), LS_OK);
    idle = atomic_load(&slow.idle);
    cr_assert_eq(ls_fence_wait(&fence, ls_clock_now_ns() + 20000000, &err), LS_ETIMEOUT);
    cr_assert_not_null(strstr(err.message, "for operation 2 of rank 0, which goes on"), "%s", err.message);
    cr_assert_gt(atomic_load(&slow.idle), idle);
    atomic_store(&slow.open, 2);
    cr_assert_eq(ls_request_wait(second, NULL), LS_OK);
    cr_assert_eq(ls_device_stream_synchronize(stream, NULL), LS_OK);
}

/* Requests that streams were handed go by themselves: a hundred need no more memory than one at a time. */
Test(fence, without_allocation, .init = make, .fini = end)
{
    int numbers[2] = {0, 0}, done = 0; /* the stream looks at one, operations change the other */
    uint64_t before = 0;

    atomic_store(&slow.open, 1 << 20); /* each is complete when it has been started */
    for (int i = 0; i < 100; i++) {
        cr_assert_eq(ls_request_wait_on_stream(started(&done), stream, NULL), LS_OK);
        cr_assert_eq(ls_device_stream_call(stream, "copy", copy, numbers, NULL), LS_OK);
        before = i == 0 ? ls_alloc_count() : before;
    }
    atomic_store(&slow.open, 0); /* and now none is */
    for (int i = 0; i < 100; i++) {
        cr_assert_eq(ls_request_wait_on_stream(started(&done), stream, NULL), LS_OK);
        atomic_store(&slow.open, 1);
        cr_assert_eq(ls_device_stream_synchronize(stream, NULL), LS_OK);
    }
    cr_assert_eq(done, 200);
    cr_assert_eq(ls_alloc_count(), before);
}

/* An abort fails the stream with its reason, and what follows the wait never runs; nothing moves after the end. */
Test(fence, aborted, .init = make, .fini = end)
{
    int numbers[2] = {0, -1};
    struct ls_error err = LS_ERROR_INIT;
    int progress;

    cr_assert_eq(ls_request_wait_on_stream(started(&numbers[0]), stream, NULL), LS_OK);
    cr_assert_eq(ls_request_wait_on_stream(started(&numbers[0]), stream, NULL), LS_OK);
    cr_assert_eq(ls_device_stream_call(stream, "copy", copy, numbers, NULL), LS_OK);
    ls_group_abort(group, "rank 9 burns");
    cr_assert_eq(ls_device_stream_synchronize(stream, &err), LS_EINTERRUPTED);
    cr_assert_not_null(strstr(err.message, "rank 9 burns"), "%s", err.message);
    progress = atomic_load(&slow.progress);
    atomic_store(&slow.open, 2);
    cr_assert_eq(ls_group_run(group, &(struct ls_collective){.kind = LS_BARRIER}, NULL), LS_EINTERRUPTED);
    cr_assert_eq(atomic_load(&slow.progress), progress);
    cr_assert_eq(numbers[0], 0);
    cr_assert_eq(numbers[1], -1);
}

/* A stream that is destroyed while it waits ends the group, and so nobody else waits for what nobody drives. */
Test(fence, stream_destroyed, .init = make, .fini = end)
{
    int numbers[2] = {0, -1};
    struct ls_error err = LS_ERROR_INIT;

    cr_assert_eq(ls_request_wait_on_stream(started(&numbers[0]), stream, NULL), LS_OK);
    cr_assert_eq(ls_device_stream_call(stream, "copy", copy, numbers, NULL), LS_OK);
    ls_device_stream_destroy(stream);
    stream = NULL;
    cr_assert_eq(atomic_load(&slow.aborted), 1);
    cr_assert_eq(ls_group_run(group, &(struct ls_collective){.kind = LS_BARRIER}, &err), LS_EINTERRUPTED);
    cr_assert_not_null(strstr(err.message, "stream update was closed while it waited for operation 1"), "%s",
                       err.message);
    cr_assert_eq(numbers[1], -1);
}

static enum ls_status break_down(void *state, struct ls_error *err)
{
    (void)state;
    return ls_error_set(err, LS_EIO, "a disk broke");
}

/* A stream that has failed still drives the operations that it was handed: peers wait for them. */
Test(fence, failed_stream_drives_on, .init = make, .fini = end)
{
    int numbers[2] = {0, -1};
    struct ls_error err = LS_ERROR_INIT;

    atomic_store(&slow.open, 0);
    cr_assert_eq(ls_device_stream_call(stream, "break", break_down, NULL, NULL), LS_OK);
    cr_assert_eq(ls_request_wait_on_stream(started(&numbers[0]), stream, NULL), LS_OK);
    cr_assert_eq(ls_device_stream_call(stream, "copy", copy, numbers, NULL), LS_OK);
    atomic_store(&slow.open, 1);
    cr_assert_eq(ls_device_stream_synchronize(stream, &err), LS_EIO);
    cr_assert_str_eq(err.message, "a disk broke");
    cr_assert_eq(numbers[0], 1);
    cr_assert_eq(numbers[1], -1);
    cr_assert_eq(atomic_load(&slow.aborted), 0);
}

/* Where only one thread may use a transport no stream is handed a request, which stays its owner's. */
Test(fence, one_thread, .init = make, .fini = end)
{
    struct ls_request *request = started(NULL);
    struct ls_error err = LS_ERROR_INIT;
    struct ls_fence fence;

    slow.one_thread = true;
    cr_assert_eq(ls_request_wait_on_stream(request, stream, &err), LS_EUNSUPPORTED);
    cr_assert_not_null(strstr(err.message, "the slow library allows one thread only"), "%s", err.message);
    cr_assert_eq(ls_request_fence(request, &fence, &err), LS_EUNSUPPORTED);
    atomic_store(&slow.open, 1);
    cr_assert_eq(ls_request_wait(request, &err), LS_OK);
}
