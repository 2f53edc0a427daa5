/* SPDX-License-Identifier: Apache-2.0 */
/* Streams and their events: order, asynchronous errors, fences between streams, deadlines, ends. */
#include "core/device/stream.h"
#include "core/base/alloc.h"
#include "core/base/clock.h"

#include <criterion/criterion.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#define LONG_NS UINT64_C(60000000000)

static struct ls_device *device;

static void open_device(void)
{
    cr_assert_eq(ls_device_open("cpu", NULL, &device, NULL), LS_OK);
}

static void close_device(void)
{
    ls_device_close(device);
}

static struct ls_device_stream *stream_named(const char *name, int capacity)
{
    struct ls_device_stream_options options = LS_DEVICE_STREAM_OPTIONS_DEFAULT;
    struct ls_device_stream *stream = NULL;
    struct ls_error err = LS_ERROR_INIT;

    options.name = name;
    options.capacity = capacity;
    cr_assert_eq(ls_device_stream_create(device, &options, &stream, &err), LS_OK, "%s", err.message);
    return stream;
}

/* A work that ends when the test lets it. */
struct gate {
    _Atomic bool entered, open;
};

static enum ls_status pass_gate(void *state, struct ls_error *err)
{
    struct gate *gate = state;

    (void)err;
    atomic_store(&gate->entered, true);
    while (!atomic_load(&gate->open))
        (void)sched_yield();
    return LS_OK;
}

static void await_entry(struct gate *gate)
{
    while (!atomic_load(&gate->entered))
        (void)sched_yield();
}

static enum ls_status count_up(void *state, struct ls_error *err)
{
    (void)err;
    ++*(int *)state;
    return LS_OK;
}

static enum ls_status break_down(void *state, struct ls_error *err)
{
    return ls_error_set(err, LS_EIO, "%s broke", (const char *)state);
}

/* Ops and functions run one after another with the device's bits, and nothing is allocated for them. */
Test(stream, works_in_order, .init = open_device, .fini = close_device)
{
    struct ls_device_stream *stream = stream_named("order", 4);
    float a[100], b[100], sums[2][100];
    int count = 0;
    struct ls_view in[2] = {{LS_F32, LS_SHAPE(100), a}, {LS_F32, LS_SHAPE(100), b}};
    struct ls_view out[2] = {{LS_F32, LS_SHAPE(100), sums[0]}, {LS_F32, LS_SHAPE(100), sums[1]}};
    struct ls_view second[2] = {out[0], in[1]};
    struct ls_op_call calls[2] = {
        {.op = LS_OP_ADD, .in = in, .in_count = 2, .out = &out[0], .out_count = 1},
        {.op = LS_OP_MUL, .in = second, .in_count = 2, .out = &out[1], .out_count = 1},
    };
    uint64_t before = ls_alloc_count();

    for (int i = 0; i < 100; i++) {
        a[i] = (float)i;
        b[i] = 3;
    }
    for (int round = 0; round < 50; round++) {
        cr_assert_eq(ls_device_stream_run(stream, &calls[0], NULL), LS_OK);
        cr_assert_eq(ls_device_stream_run(stream, &calls[1], NULL), LS_OK);
        cr_assert_eq(ls_device_stream_call(stream, "count", count_up, &count, NULL), LS_OK);
    }
    cr_assert_eq(ls_device_stream_synchronize(stream, NULL), LS_OK);
    cr_assert_eq(count, 50);
    for (int i = 0; i < 100; i++)
        cr_assert_eq(sums[1][i], (float)(i + 3) * 3);
    cr_assert_eq(ls_alloc_count(), before);
    cr_assert_str_eq(ls_device_stream_name(stream), "order");
    ls_device_stream_destroy(stream);
    ls_device_stream_destroy(NULL);
}

/* An event is reached when what was submitted before it has ended, and no earlier; later work does not hold it up. */
Test(stream, events, .init = open_device, .fini = close_device)
{
    struct ls_device_stream *stream = stream_named("events", 8);
    struct gate first = {.open = false}, second = {.open = false};
    struct ls_fence nothing = {.ops = NULL}, empty = ls_device_stream_record(stream), event;
    struct ls_error err = LS_ERROR_INIT;
    char text[LS_FENCE_TEXT];

    cr_assert_eq(ls_fence_test(&nothing, NULL), LS_OK);
    cr_assert_eq(ls_fence_wait(&nothing, 0, NULL), LS_OK);
    cr_assert_str_eq(ls_fence_text(&nothing, text), "nothing");
    cr_assert_eq(ls_fence_test(&empty, NULL), LS_OK);
    cr_assert_eq(ls_device_stream_call(stream, "first", pass_gate, &first, NULL), LS_OK);
    event = ls_device_stream_record(stream);
    cr_assert_eq(ls_device_stream_call(stream, "second", pass_gate, &second, NULL), LS_OK);
    await_entry(&first);
    cr_assert_eq(ls_fence_test(&event, &err), LS_EAGAIN);
    cr_assert_eq(ls_fence_wait(&event, 0, &err), LS_ETIMEOUT);
    cr_assert_not_null(strstr(err.message, "work 1 of stream events, which is at work 1 (first)"), "%s", err.message);
    cr_assert_str_eq(ls_fence_text(&event, text), "work 1 of stream events");
    atomic_store(&first.open, true);
    cr_assert_eq(ls_fence_wait(&event, ls_clock_now_ns() + LONG_NS, &err), LS_OK);
    cr_assert_eq(ls_fence_test(&event, &err), LS_OK);
    atomic_store(&second.open, true);
    cr_assert_eq(ls_device_stream_synchronize(stream, NULL), LS_OK);
    ls_device_stream_destroy(stream);
}

/* The first error is kept: work behind it is skipped, events before it are well, all others give it. */
Test(stream, first_error_wins, .init = open_device, .fini = close_device)
{
    struct ls_device_stream *stream = stream_named("errors", 8);
    struct ls_fence before, between, after;
    struct ls_error err = LS_ERROR_INIT;
    int count = 0;

    (void)ls_device_stream_call(stream, "count", count_up, &count, NULL);
    before = ls_device_stream_record(stream);
    (void)ls_device_stream_call(stream, "first", break_down, "the first", NULL);
    between = ls_device_stream_record(stream);
    (void)ls_device_stream_call(stream, "count", count_up, &count, NULL);
    (void)ls_device_stream_call(stream, "second", break_down, "the second", NULL);
    after = ls_device_stream_record(stream);
    cr_assert_eq(ls_device_stream_synchronize(stream, &err), LS_EIO);
    cr_assert_str_eq(err.message, "the first broke");
    cr_assert_eq(count, 1);
    cr_assert_eq(ls_fence_test(&before, &err), LS_OK);
    cr_assert_eq(ls_fence_test(&between, NULL), LS_EIO);
    cr_assert_eq(ls_fence_wait(&after, ls_clock_now_ns() + LONG_NS, &err), LS_EIO);
    cr_assert_str_eq(err.message, "the first broke");
    (void)ls_device_stream_call(stream, "count", count_up, &count, NULL);
    cr_assert_eq(ls_device_stream_synchronize(stream, NULL), LS_EIO);
    cr_assert_eq(count, 1);
    ls_device_stream_destroy(stream);
}

/* What a kernel finds wrong in its data is the stream's error, by the kernel's sentence. */
Test(stream, error_of_an_op, .init = open_device, .fini = close_device)
{
    struct ls_device_stream *stream = stream_named("ops", 8);
    float logits[2] = {0, 1}, loss[1];
    int32_t label[1] = {7};
    struct ls_view in[2] = {{LS_F32, LS_SHAPE(1, 2), logits}, {LS_I32, LS_SHAPE(1), label}};
    struct ls_view out = {LS_F32, LS_SHAPE(1), loss};
    struct ls_op_call call = {.op = LS_OP_SPARSE_SOFTMAX_XENT, .in = in, .in_count = 2, .out = &out, .out_count = 1};
    struct ls_error direct = LS_ERROR_INIT, err = LS_ERROR_INIT;
    enum ls_status status = ls_device_run(device, &call, &direct);

    cr_assert_neq(status, LS_OK);
    cr_assert_eq(ls_device_stream_run(stream, &call, NULL), LS_OK);
    cr_assert_eq(ls_device_stream_synchronize(stream, &err), status);
    cr_assert_not_null(strstr(err.message, direct.message), "%s", err.message);
    cr_assert_eq(strncmp(err.message, "stream ops: ", 12), 0, "%s", err.message);
    ls_device_stream_destroy(stream);
}

/* A stream waits for another one's event: what follows starts behind it, and not at all where it failed. */
Test(stream, waits_for_another, .init = open_device, .fini = close_device)
{
    struct ls_device_stream *first = stream_named("first", 8), *second = stream_named("second", 8);
    struct gate gate = {.open = false};
    struct ls_error err = LS_ERROR_INIT;
    struct ls_fence event;
    int count = 0;

    (void)ls_device_stream_call(first, "gate", pass_gate, &gate, NULL);
    (void)ls_device_stream_call(first, "count", count_up, &count, NULL);
    event = ls_device_stream_record(first);
    cr_assert_eq(ls_device_stream_wait(second, &event, &err), LS_OK);
    cr_assert_eq(ls_device_stream_wait(first, &event, &err), LS_OK); /* its own: no work at all */
    (void)ls_device_stream_call(second, "count", count_up, &count, NULL);
    event = ls_device_stream_record(second);
    cr_assert_eq(ls_fence_test(&event, &err), LS_EAGAIN);
    atomic_store(&gate.open, true);
    cr_assert_eq(ls_device_stream_synchronize(second, &err), LS_OK);
    cr_assert_eq(count, 2); /* one after the other, without a lock: the thread sanitizer would tell */
    (void)ls_device_stream_call(first, "broken", break_down, "the first", NULL);
    event = ls_device_stream_record(first);
    (void)ls_device_stream_wait(second, &event, NULL);
    (void)ls_device_stream_call(second, "count", count_up, &count, NULL);
    cr_assert_eq(ls_device_stream_synchronize(second, &err), LS_EIO);
    cr_assert_str_eq(err.message, "the first broke");
    cr_assert_eq(count, 2);
    ls_device_stream_destroy(second);
    ls_device_stream_destroy(first);
}

static _Atomic uint64_t virtual_ns;

static uint64_t virtual_now(void *state)
{
    (void)state;
    return atomic_fetch_add(&virtual_ns, 1000000000u); /* a second a look */
}

/* No wait is without end: a full stream, its end, and a fence name the work that they waited for, by the clock's
 * seam. */
Test(stream, deadlines, .init = open_device, .fini = close_device)
{
    struct ls_device_stream *other, *stream;
    struct gate gate = {.open = false};
    struct ls_error err = LS_ERROR_INIT;
    struct ls_fence event;
    int count = 0;

    ls_clock_set(virtual_now, NULL);
    other = stream_named("other", 4);
    stream = stream_named("full", 2);
    (void)ls_device_stream_call(other, "gate", pass_gate, &gate, NULL);
    event = ls_device_stream_record(other);
    await_entry(&gate);
    cr_assert_eq(ls_device_stream_wait(stream, &event, NULL), LS_OK);
    cr_assert_eq(ls_device_stream_synchronize(stream, &err), LS_ETIMEOUT);
    if (strstr(err.message, "of stream full") == NULL) /* whichever of the two waits came first to its end */
        cr_assert_not_null(strstr(err.message, "for work 1 of stream other"), "%s", err.message);
    ls_device_stream_destroy(stream);
    stream = stream_named("full", 2);
    atomic_store(&gate.open, true);
    cr_assert_eq(ls_device_stream_synchronize(other, &err), LS_OK);
    gate = (struct gate){.open = false};
    (void)ls_device_stream_call(stream, "gate", pass_gate, &gate, NULL);
    cr_assert_eq(ls_device_stream_call(stream, "count", count_up, &count, NULL), LS_OK);
    cr_assert_eq(ls_device_stream_call(stream, "count", count_up, &count, &err), LS_ETIMEOUT);
    cr_assert_not_null(strstr(err.message, "for work 1 of stream full, which is at work 1 (gate)"), "%s", err.message);
    cr_assert_eq(ls_device_stream_synchronize(stream, &err), LS_ETIMEOUT);
    cr_assert_not_null(strstr(err.message, "for work 2 of stream full"), "%s", err.message);
    atomic_store(&gate.open, true);
    ls_device_stream_destroy(stream);
    ls_device_stream_destroy(other);
    ls_clock_set(NULL, NULL);
}

struct inside {
    struct ls_device_stream *stream;
    int count;
    enum ls_status synchronized, full;
};

static enum ls_status act_inside(void *state, struct ls_error *err)
{
    struct inside *inside = state;

    (void)err;
    inside->synchronized = ls_device_stream_synchronize(inside->stream, NULL);
    (void)ls_device_stream_call(inside->stream, "count", count_up, &inside->count, NULL);
    inside->full = ls_device_stream_call(inside->stream, "count", count_up, &inside->count, NULL);
    return LS_OK;
}

/* A work may submit more, and is refused at once where it would wait for itself. */
Test(stream, from_inside, .init = open_device, .fini = close_device)
{
    struct inside inside = {.stream = stream_named("inside", 2)};

    (void)ls_device_stream_call(inside.stream, "act", act_inside, &inside, NULL);
    cr_assert_eq(ls_device_stream_synchronize(inside.stream, NULL), LS_OK);
    cr_assert_eq(ls_device_stream_synchronize(inside.stream, NULL), LS_OK);
    cr_assert_eq(inside.synchronized, LS_EBUSY);
    cr_assert_eq(inside.full, LS_EBUSY);
    cr_assert_eq(inside.count, 1);
    ls_device_stream_destroy(inside.stream);
}

/* A stream that is destroyed ends at once: its waits are given up, and what had not begun never does. */
Test(stream, destroyed_in_the_middle, .init = open_device, .fini = close_device)
{
    struct ls_device_stream *other = stream_named("other", 4), *stream = stream_named("leaving", 4);
    struct gate gate = {.open = false};
    struct ls_fence event;
    int count = 0;

    (void)ls_device_stream_call(other, "gate", pass_gate, &gate, NULL);
    event = ls_device_stream_record(other);
    await_entry(&gate);
    (void)ls_device_stream_wait(stream, &event, NULL);
    (void)ls_device_stream_call(stream, "count", count_up, &count, NULL);
    ls_device_stream_destroy(stream); /* while the other one stands */
    cr_assert_eq(count, 0);
    atomic_store(&gate.open, true);
    ls_device_stream_destroy(other);
}

/* What a stream cannot be is refused, and where memory is short there is none. */
Test(stream, refused, .init = open_device, .fini = close_device)
{
    struct ls_device_stream_options options = LS_DEVICE_STREAM_OPTIONS_DEFAULT;
    struct ls_device_stream *stream = NULL;
    struct ls_error err = LS_ERROR_INIT;

    options.capacity = 0;
    cr_assert_eq(ls_device_stream_create(device, &options, &stream, &err), LS_EINVAL);
    options.capacity = 1;
    options.wait_deadline_ms = 0;
    cr_assert_eq(ls_device_stream_create(device, &options, &stream, &err), LS_EINVAL);
    for (uint64_t nth = 1; nth <= 2; nth++) {
        ls_alloc_fail_after(nth);
        cr_assert_eq(ls_device_stream_create(device, NULL, &stream, &err), LS_ENOMEM);
    }
    ls_alloc_fail_after(0);
    cr_assert_null(stream);
    cr_assert_eq(ls_device_stream_create(device, NULL, &stream, &err), LS_OK);
    ls_device_stream_destroy(stream);
}
