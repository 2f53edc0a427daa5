/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stream: work of a device, done one after another by a thread of its own while the caller goes on. Nothing is
 * allocated after its creation. Errors are asynchronous: the first one is kept, work behind it is skipped, and every
 * event behind it, and ls_device_stream_synchronize, gives it. Waits for fences are made in any case: an operation of
 * a group needs somebody who drives it. A stream that failed stays so.
 * Any thread may call what is here, the stream's own too (from a work), except where LS_EBUSY says otherwise.
 */
#ifndef LOCKSTEP_CORE_DEVICE_STREAM_H
#define LOCKSTEP_CORE_DEVICE_STREAM_H

#include "core/device/device.h"
#include "core/device/fence.h"

struct ls_device_stream;

struct ls_device_stream_options {
    const char *name;         /* in sentences and as the thread's; copied, cut at 31 bytes. Default "device" */
    int capacity;             /* works that have not ended, 1 to 65,536, default 64 */
    int64_t wait_deadline_ms; /* of its waits for events and of those for it, default 60,000 */
};
#define LS_DEVICE_STREAM_OPTIONS_DEFAULT                                \
    {                                                                   \
        .name = "device", .capacity = 64, .wait_deadline_ms = 60 * 1000 \
    }

/* device is borrowed and outlives the stream, NULL: it runs no ops; options NULL: the defaults. Returned; ends with
 * ls_device_stream_destroy. LS_EINVAL: options out of range; LS_ENOMEM: no memory, or no thread. */
enum ls_status ls_device_stream_create(struct ls_device *device, const struct ls_device_stream_options *options,
                                       struct ls_device_stream **stream, struct ls_error *err);
/* Ends what runs now, skips what has not begun (ls_device_stream_synchronize before it where that matters), and ends
 * the groups whose requests it was handed and has not seen the end of. Afterwards it touches no buffer, its events are
 * gone, and no other stream may still have a wait for one. Accepts NULL. */
void ls_device_stream_destroy(struct ls_device_stream *stream);
/* Static while the stream lives. */
const char *ls_device_stream_name(const struct ls_device_stream *stream);

/* Submitting. Where the stream is full they wait until a work has ended: LS_ETIMEOUT names the one that did not;
 * LS_EBUSY: the stream's own thread would wait for itself. Success says that it will be done or skipped. */

/* call, and what it points to, is borrowed until it has ended. LS_EINVAL: the stream has no device. */
enum ls_status ls_device_stream_run(struct ls_device_stream *stream, const struct ls_op_call *call,
                                    struct ls_error *err);
/* A function of the host, in the stream's thread. what: static, its name in sentences; state is borrowed until it has
 * ended. */
typedef enum ls_status (*ls_device_stream_fn)(void *state, struct ls_error *err);
enum ls_status ls_device_stream_call(struct ls_device_stream *stream, const char *what, ls_device_stream_fn fn,
                                     void *state, struct ls_error *err);
/* What is submitted later starts when the fence has been reached, and not at all where it failed. */
enum ls_status ls_device_stream_wait(struct ls_device_stream *stream, const struct ls_fence *fence,
                                     struct ls_error *err);

/* The event that all work submitted so far has ended. */
struct ls_fence ls_device_stream_record(struct ls_device_stream *stream);
/* Waits for that event, until the stream's deadline: LS_ETIMEOUT. LS_EBUSY in the stream's own thread. */
enum ls_status ls_device_stream_synchronize(struct ls_device_stream *stream, struct ls_error *err);

#endif
