/* SPDX-License-Identifier: Apache-2.0 */
/* The ring of events and their JSON, see trace.h. */
#include "core/base/trace.h"

#include "core/base/alloc.h"
#include "core/base/fs.h"
#include "core/base/str.h"

#include <ctype.h>
#include <limits.h>
#include <string.h>

#define MOST_PART_BYTES ((size_t)1 << 30)

_Static_assert(sizeof(struct ls_trace_event) == 64, "an event is one cache line and travels as it is");
_Static_assert((LS_TRACE_EVENTS & (LS_TRACE_EVENTS - 1)) == 0, "a place is found by a mask");

enum ls_status ls_trace_create(struct ls_trace **trace, struct ls_error *err)
{
    struct ls_trace *made = ls_alloc_zeroed(1, sizeof *made);

    if (made != NULL)
        made->events = ls_alloc_aligned(LS_TRACE_EVENTS * sizeof *made->events);
    if (made == NULL || made->events == NULL) {
        ls_trace_destroy(made);
        return ls_error_set(err, LS_ENOMEM, "not enough memory for a trace of %d events", LS_TRACE_EVENTS);
    }
    *trace = made;
    return LS_OK;
}

void ls_trace_destroy(struct ls_trace *trace)
{
    if (trace == NULL)
        return;
    ls_free(trace->events);
    ls_free(trace);
}

struct ls_trace_event *ls_trace_add(struct ls_trace *trace, enum ls_trace_kind kind, uint64_t begin_ns, uint64_t end_ns,
                                    uint64_t step)
{
    struct ls_trace_event *event = &trace->events[trace->count++ & (LS_TRACE_EVENTS - 1)];

    *event = (struct ls_trace_event){.begin_ns = begin_ns,
                                     .end_ns = end_ns > begin_ns ? end_ns : begin_ns,
                                     .step = step,
                                     .number = -1,
                                     .peer = -1,
                                     .kind = (uint8_t)kind};
    return event;
}

size_t ls_trace_kept(const struct ls_trace *trace)
{
    return trace->count < LS_TRACE_EVENTS ? (size_t)trace->count : LS_TRACE_EVENTS;
}

const struct ls_trace_event *ls_trace_at(const struct ls_trace *trace, size_t index)
{
    return &trace->events[(trace->count - ls_trace_kept(trace) + index) & (LS_TRACE_EVENTS - 1)];
}

static void name_track(struct ls_buf *text, int rank, int track, const char *name)
{
    (void)ls_buf_append_format(
        text,
        "{\"name\":\"thread_name\",\"ph\":\"M\",\"pid\":%d,\"tid\":%d,\"args\":{\"name\":\"%s\"}},\n"
        "{\"name\":\"thread_sort_index\",\"ph\":\"M\",\"pid\":%d,\"tid\":%d,\"args\":{\"sort_index\":%d}},\n",
        rank, track, name, rank, track, track);
}

void ls_trace_name_rank(struct ls_buf *text, const struct ls_trace_rank *rank)
{
    (void)ls_buf_append_format(
        text,
        "{\"name\":\"process_name\",\"ph\":\"M\",\"pid\":%d,\"args\":{\"name\":\"%s\"}},\n"
        "{\"name\":\"process_sort_index\",\"ph\":\"M\",\"pid\":%d,\"args\":{\"sort_index\":%d}},\n",
        rank->rank, rank->name, rank->rank, rank->rank);
    name_track(text, rank->rank, 0, "steps");
}

/* Microseconds with three places, as whole numbers: no event moves by rounding. */
static void tell_us(struct ls_buf *text, const char *key, int64_t ns)
{
    uint64_t size = ns < 0 ? 0 - (uint64_t)ns : (uint64_t)ns;

    (void)ls_buf_append_format(text, ",\"%s\":%s%llu.%03llu", key, ns < 0 ? "-" : "", (unsigned long long)(size / 1000),
                               (unsigned long long)(size % 1000));
}

/* The events of track 1 overlap one another, so each number has a track of its own. */
static int track_of(const struct ls_trace_event *event)
{
    static const uint8_t tracks[] = {
#define LS_TRACE_TRACK(name, text, track) track,
        LS_TRACE_KINDS(LS_TRACE_TRACK)
#undef LS_TRACE_TRACK
    };

    if (tracks[event->kind] == 0)
        return 0;
    return event->number < 0 ? 1 : event->number < INT_MAX ? 1 + event->number : INT_MAX;
}

/* Events come from other ranks: only letters that need no care in JSON. */
static void tell_note(struct ls_buf *text, const char *note, size_t most)
{
    (void)ls_buf_append_string(text, ",\"way\":\"");
    for (size_t i = 0; i < most && note[i] != '\0'; i++) {
        unsigned char c = (unsigned char)note[i];

        (void)ls_buf_append(text, isalnum(c) || c == '-' || c == '.' ? note + i : "_", 1);
    }
    (void)ls_buf_append_string(text, "\"");
}

/* Many readers of JSON refuse the whole file for one number that int64 does not hold. */
static long long within(uint64_t number)
{
    return number < INT64_MAX ? (long long)number : INT64_MAX;
}

static void tell_arguments(struct ls_buf *text, const struct ls_trace_event *event)
{
    (void)ls_buf_append_format(text, ",\"args\":{\"step\":%lld", within(event->step));
    if (event->number >= 0)
        (void)ls_buf_append_format(text, ",\"number\":%d", event->number);
    if (event->bytes > 0)
        (void)ls_buf_append_format(text, ",\"bytes\":%lld", within(event->bytes));
    if (event->peer >= 0)
        (void)ls_buf_append_format(text, ",\"for_rank\":%d", event->peer);
    if (event->note[0] != '\0')
        tell_note(text, event->note, sizeof event->note);
    (void)ls_buf_append_string(text, "}},\n");
}

void ls_trace_tell(struct ls_buf *text, const struct ls_trace_rank *rank, const struct ls_trace_event *event)
{
    static const char *const names[] = {
#define LS_TRACE_TEXT(name, text, track) text,
        LS_TRACE_KINDS(LS_TRACE_TEXT)
#undef LS_TRACE_TEXT
    };
    int64_t begin = (int64_t)(event->begin_ns - rank->zero_ns - (uint64_t)rank->ahead_ns);

    if (event->kind >= LS_TRACE_KIND_COUNT)
        return;
    if (event->kind == LS_TRACE_BUCKET)
        (void)ls_buf_append_format(text, "{\"name\":\"bucket %d\"", event->number);
    else
        (void)ls_buf_append_format(text, "{\"name\":\"%s\"", names[event->kind]);
    (void)ls_buf_append_format(text, ",\"cat\":\"%s\",\"ph\":\"X\",\"pid\":%d,\"tid\":%d", names[event->kind],
                               rank->rank, track_of(event));
    tell_us(text, "ts", begin);
    tell_us(text, "dur", (int64_t)(event->end_ns - event->begin_ns));
    tell_arguments(text, event);
}

void ls_trace_begin(struct ls_buf *text)
{
    (void)ls_buf_append_string(text, "[\n");
}

enum ls_status ls_trace_write(const char *path, struct ls_buf *text, struct ls_error *err)
{
    while (text->length > 0 && (text->data[text->length - 1] == '\n' || text->data[text->length - 1] == ','))
        text->length--;
    (void)ls_buf_append_string(text, "\n]\n");
    if (text->failed)
        return ls_error_set(err, LS_ENOMEM, "not enough memory to write the trace %s", path);
    return ls_fs_write_atomic(path, text->data, text->length, err);
}

char *ls_trace_part_path(const char *path, int rank)
{
    return ls_str_format("%s.rank%d", path, rank);
}

/* What stands between the brackets of a part. */
static enum ls_status take_part(const char *part, struct ls_buf *text, struct ls_error *err)
{
    struct ls_buf file = {0};
    enum ls_status status = ls_fs_read(part, MOST_PART_BYTES, &file, err);

    if (status == LS_OK && file.length > 5) {
        (void)ls_buf_append(text, file.data + 2, file.length - 5);
        (void)ls_buf_append_string(text, ",\n");
    }
    ls_buf_deinit(&file);
    return status;
}

enum ls_status ls_trace_join(const char *path, int world, struct ls_error *err)
{
    struct ls_buf text = {0};
    size_t empty;
    enum ls_status status = LS_OK;

    ls_trace_begin(&text);
    empty = text.length;
    for (int r = 0; r < world && status == LS_OK; r++) {
        char *part = ls_trace_part_path(path, r);

        if (part == NULL)
            status = ls_error_set(err, LS_ENOMEM, "not enough memory to write the trace %s", path);
        else if (ls_fs_exists(part))
            status = take_part(part, &text, err);
        ls_free(part);
    }
    if (status == LS_OK)
        status = text.length == empty ? LS_ENOENT : ls_trace_write(path, &text, err);
    for (int r = 0; r < world && status == LS_OK; r++) {
        char *part = ls_trace_part_path(path, r);

        if (part != NULL)
            (void)ls_fs_remove(part, NULL);
        ls_free(part);
    }
    ls_buf_deinit(&text);
    return status;
}
