/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams, see stream.h. Works are counted from 1 on and live in a ring until they have ended, so an event is a number:
 * it is reached when so many have ended, and failed when the first failure came before.
 */
#include "core/device/stream.h"

#include "core/base/alloc.h"
#include "core/base/clock.h"
#include "core/base/thread.h"
#include "core/device/device_internal.h"
#include "core/device/fence_impl.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define MOST_CAPACITY 65536
#define NAP_NS 5000000u /* between two looks at the clock, which a test may have replaced, and at `abandon` */

/* One of call, fn and fence.ops is set. */
struct work {
    const char *what;
    const struct ls_op_call *call;
    ls_device_stream_fn fn;
    void *state;
    struct ls_fence fence;
};

struct ls_device_stream {
    struct ls_device *device;
    char name[32];
    char who[48]; /* "stream NAME" */
    int64_t wait_deadline_ms;
    uint64_t capacity;
    struct work *ring;
    pthread_t thread;
    bool started;
    pthread_mutex_t lock; /* of all below that is not atomic */
    pthread_cond_t given; /* a work, or the end: for the stream's thread */
    pthread_cond_t ended; /* a work: for everybody else */
    uint64_t submitted, finished;
    int waiting;        /* threads in a wait for a place */
    uint64_t failed_at; /* the first work that failed; 0: none */
    struct ls_error failure;
    _Atomic bool hurry; /* somebody waits for the stream */
    _Atomic bool leaving;
    _Atomic int held; /* waits of other streams for events of this one */
};

static const struct work *work_at(const struct ls_device_stream *stream, uint64_t number)
{
    return &stream->ring[(number - 1) % stream->capacity];
}

/* Under the lock. */
static void nap(struct ls_device_stream *stream, uint64_t ns)
{
    struct ls_wait wait = ls_wait_begin("a work of a stream", ns < NAP_NS ? ns : NAP_NS);

    (void)ls_wait_on(&wait, &stream->ended, &stream->lock);
}

/* Until so many works have ended, under the lock. */
static enum ls_status await_place(struct ls_device_stream *stream, uint64_t place, const struct lsi_patience *patience,
                                  struct ls_error *err)
{
    uint64_t began_ns = stream->finished < place ? ls_clock_now_ns() : 0;

    while (stream->finished < place) {
        uint64_t now_ns = ls_clock_now_ns();

        if (patience->abandon != NULL && atomic_load(patience->abandon))
            return ls_error_set(err, LS_EINTERRUPTED, "%s was closed while it waited for work %llu of %s",
                                patience->who, (unsigned long long)place, stream->who);
        if (now_ns >= patience->deadline_ns)
            return ls_error_set(err, LS_ETIMEOUT, "%s waited %.1f s for work %llu of %s, which is at work %llu (%s)",
                                patience->who, (double)(now_ns - began_ns) * 1e-9, (unsigned long long)place,
                                stream->who, (unsigned long long)stream->finished + 1,
                                work_at(stream, stream->finished + 1)->what);
        stream->waiting++;
        atomic_store(&stream->hurry, true);
        nap(stream, patience->deadline_ns - now_ns);
        stream->waiting--;
        atomic_store(&stream->hurry, stream->waiting > 0);
    }
    return LS_OK;
}

/* What an event says whose place has been reached. */
static enum ls_status outcome(const struct ls_device_stream *stream, uint64_t place, struct ls_error *err)
{
    if (stream->failed_at == 0 || stream->failed_at > place)
        return LS_OK;
    if (err != NULL)
        *err = stream->failure;
    return stream->failure.status;
}

static enum ls_status event_test(void *source, uint64_t place, struct ls_error *err)
{
    struct ls_device_stream *stream = source;
    enum ls_status status = LS_EAGAIN;

    (void)pthread_mutex_lock(&stream->lock);
    if (stream->finished >= place)
        status = outcome(stream, place, err);
    (void)pthread_mutex_unlock(&stream->lock);
    return status;
}

static enum ls_status event_wait(void *source, uint64_t place, const struct lsi_patience *patience,
                                 struct ls_error *err)
{
    struct ls_device_stream *stream = source;
    enum ls_status status;

    (void)pthread_mutex_lock(&stream->lock);
    status = await_place(stream, place, patience, err);
    if (status == LS_OK)
        status = outcome(stream, place, err);
    (void)pthread_mutex_unlock(&stream->lock);
    return status;
}

static void event_text(const void *source, uint64_t place, char text[LS_FENCE_TEXT])
{
    (void)snprintf(text, LS_FENCE_TEXT, "work %llu of %s", (unsigned long long)place,
                   ((const struct ls_device_stream *)source)->who);
}

static void event_hold(void *source)
{
    atomic_fetch_add(&((struct ls_device_stream *)source)->held, 1);
}

static void event_let_go(void *source)
{
    atomic_fetch_sub(&((struct ls_device_stream *)source)->held, 1);
}

static const struct ls_fence_ops event_ops = {
    .name = "event",
    .test = event_test,
    .wait = event_wait,
    .text = event_text,
    .hold = event_hold,
    .let_go = event_let_go,
};

static struct lsi_patience patience_of(const struct ls_device_stream *stream, const char *who)
{
    return (struct lsi_patience){
        .deadline_ns = ls_clock_now_ns() + (uint64_t)stream->wait_deadline_ms * UINT64_C(1000000), .who = who};
}

/* Does or skips a work, in the stream's thread. */
static enum ls_status carry_out(struct ls_device_stream *stream, const struct work *work, bool skip,
                                struct ls_error *err)
{
    if (work->fence.ops != NULL) {
        struct lsi_patience patience = patience_of(stream, stream->who);
        enum ls_status status;

        patience.abandon = &stream->leaving;
        patience.hurry = &stream->hurry;
        status = lsi_fence_await(&work->fence, &patience, err);
        work->fence.ops->let_go(work->fence.source);
        return status;
    }
    if (skip)
        return LS_OK;
    if (atomic_load(&stream->leaving))
        return ls_error_set(err, LS_EINTERRUPTED, "%s was closed before %s began", stream->who, work->what);
    return work->call != NULL ? ls_device_run(stream->device, work->call, err) : work->fn(work->state, err);
}

/* Under the lock. What a fence or a function says is a sentence of its own; an op does not know where it ran. */
static void finish(struct ls_device_stream *stream, enum ls_status status, struct ls_error *err)
{
    const struct work *work = work_at(stream, ++stream->finished);

    if (status != LS_OK && stream->failed_at == 0) {
        if (err->status == LS_OK)
            (void)ls_error_set(err, status, "%s failed: %s", work->what, ls_status_sentence(status));
        if (work->call != NULL)
            (void)ls_error_wrap(err, "%s", stream->who);
        stream->failure = *err;
        stream->failure.status = status;
        stream->failed_at = stream->finished;
    }
    (void)pthread_cond_broadcast(&stream->ended);
}

static void *stream_main(void *argument)
{
    struct ls_device_stream *stream = argument;

    lsi_float_mode_set();
    (void)pthread_mutex_lock(&stream->lock);
    for (;;) {
        struct ls_error err = LS_ERROR_INIT;
        enum ls_status status;
        struct work work;
        bool skip;

        if (stream->finished == stream->submitted) {
            if (atomic_load(&stream->leaving))
                break;
            ls_wait_idle("the next work of a stream", &stream->given, &stream->lock);
            continue;
        }
        work = *work_at(stream, stream->finished + 1);
        skip = stream->failed_at != 0;
        (void)pthread_mutex_unlock(&stream->lock);
        status = carry_out(stream, &work, skip, &err);
        (void)pthread_mutex_lock(&stream->lock);
        finish(stream, status, &err);
    }
    (void)pthread_mutex_unlock(&stream->lock);
    return NULL;
}

/* Room for one more, under the lock. */
static enum ls_status await_room(struct ls_device_stream *stream, struct ls_error *err)
{
    struct lsi_patience patience;
    enum ls_status status = LS_OK;

    if (stream->submitted - stream->finished < stream->capacity)
        return LS_OK;
    if (pthread_equal(stream->thread, pthread_self()))
        return ls_error_set(err, LS_EBUSY, "%s is full, and one of its own works gives it more", stream->who);
    patience = patience_of(stream, "a full stream's caller");
    while (status == LS_OK && stream->submitted - stream->finished >= stream->capacity)
        status = await_place(stream, stream->submitted + 1 - stream->capacity, &patience, err);
    return status;
}

static enum ls_status submit(struct ls_device_stream *stream, const struct work *work, struct ls_error *err)
{
    enum ls_status status;

    (void)pthread_mutex_lock(&stream->lock);
    status = await_room(stream, err);
    if (status == LS_OK) {
        if (work->fence.ops != NULL)
            work->fence.ops->hold(work->fence.source);
        stream->ring[stream->submitted % stream->capacity] = *work;
        stream->submitted++;
        (void)pthread_cond_signal(&stream->given);
    }
    (void)pthread_mutex_unlock(&stream->lock);
    return status;
}

enum ls_status ls_device_stream_run(struct ls_device_stream *stream, const struct ls_op_call *call,
                                    struct ls_error *err)
{
    if (stream->device == NULL)
        return ls_error_set(err, LS_EINVAL, "%s has no device to run the op %s on", stream->who,
                            lsi_device_op_name(call->op));
    return submit(stream, &(struct work){.what = lsi_device_op_name(call->op), .call = call}, err);
}

enum ls_status ls_device_stream_call(struct ls_device_stream *stream, const char *what, ls_device_stream_fn fn,
                                     void *state, struct ls_error *err)
{
    return submit(stream, &(struct work){.what = what, .fn = fn, .state = state}, err);
}

enum ls_status ls_device_stream_wait(struct ls_device_stream *stream, const struct ls_fence *fence,
                                     struct ls_error *err)
{
    if (fence->ops == NULL || fence->source == stream) /* its own: everything before it comes before */
        return LS_OK;
    return submit(stream, &(struct work){.what = fence->ops->name, .fence = *fence}, err);
}

struct ls_fence ls_device_stream_record(struct ls_device_stream *stream)
{
    struct ls_fence fence = {&event_ops, stream, 0};

    (void)pthread_mutex_lock(&stream->lock);
    fence.place = stream->submitted;
    (void)pthread_mutex_unlock(&stream->lock);
    return fence;
}

enum ls_status ls_device_stream_synchronize(struct ls_device_stream *stream, struct ls_error *err)
{
    struct ls_fence all = ls_device_stream_record(stream);
    struct lsi_patience patience = patience_of(stream, "the caller");

    if (pthread_equal(stream->thread, pthread_self()))
        return ls_error_set(err, LS_EBUSY, "%s cannot wait for its own end from one of its works", stream->who);
    return lsi_fence_await(&all, &patience, err);
}

enum ls_status ls_device_stream_create(struct ls_device *device, const struct ls_device_stream_options *options,
                                       struct ls_device_stream **stream, struct ls_error *err)
{
    const struct ls_device_stream_options defaults = LS_DEVICE_STREAM_OPTIONS_DEFAULT;
    struct ls_device_stream *made;
    enum ls_status status;

    if (options == NULL)
        options = &defaults;
    if (options->name == NULL || options->capacity < 1 || options->capacity > MOST_CAPACITY ||
        options->wait_deadline_ms < 1)
        return ls_error_set(err, LS_EINVAL,
                            "a stream has a name, room for 1 to %d works, not %d, and waits 1 ms or "
                            "longer, not %lld",
                            MOST_CAPACITY, options->capacity, (long long)options->wait_deadline_ms);
    made = ls_alloc_zeroed(1, sizeof *made);
    if (made == NULL)
        return ls_error_set(err, LS_ENOMEM, "no memory for a stream");
    made->device = device;
    made->capacity = (uint64_t)options->capacity;
    made->wait_deadline_ms = options->wait_deadline_ms;
    (void)snprintf(made->name, sizeof made->name, "%.31s", options->name);
    (void)snprintf(made->who, sizeof made->who, "stream %s", made->name);
    (void)pthread_mutex_init(&made->lock, NULL);
    (void)pthread_cond_init(&made->given, NULL);
    (void)pthread_cond_init(&made->ended, NULL);
    made->ring = ls_alloc_zeroed((size_t)made->capacity, sizeof made->ring[0]);
    status = made->ring != NULL ? ls_thread_start(made->name, 0, stream_main, made, &made->thread, err)
                                : ls_error_set(err, LS_ENOMEM, "no memory for its works");
    made->started = status == LS_OK;
    if (status != LS_OK) {
        ls_device_stream_destroy(made);
        (void)ls_error_wrap(err, "stream %.31s cannot be started", options->name);
        return status;
    }
    *stream = made;
    return LS_OK;
}

void ls_device_stream_destroy(struct ls_device_stream *stream)
{
    if (stream == NULL)
        return;
    (void)pthread_mutex_lock(&stream->lock);
    atomic_store(&stream->leaving, true);
    (void)pthread_cond_signal(&stream->given);
    (void)pthread_mutex_unlock(&stream->lock);
    if (stream->started)
        (void)pthread_join(stream->thread, NULL);
    assert(atomic_load(&stream->held) == 0);
    (void)pthread_cond_destroy(&stream->ended);
    (void)pthread_cond_destroy(&stream->given);
    (void)pthread_mutex_destroy(&stream->lock);
    ls_free(stream->ring);
    ls_free(stream);
}

const char *ls_device_stream_name(const struct ls_device_stream *stream)
{
    return stream->name;
}
