/* SPDX-License-Identifier: Apache-2.0 */
/* The CUDA half of the stand-in: memory that knows what it is, streams that are threads, events. */
#include "tests/support/nccl_stand_in/stand_in.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Added to the address of a device's memory: no address of the host has this bit. */
#define DEVICE_BIT (UINT64_C(1) << 62)

enum memory_kind { PINNED, DEVICE };

struct allocation {
    struct allocation *next;
    uint8_t *memory;
    size_t bytes;
    enum memory_kind kind;
};

struct task {
    struct task *next;
    void (*run)(void *argument);
    void *argument;
};

struct cuda_stream {
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct task *first;
    struct task *last;
    bool closing;
};

struct cuda_event {
    _Atomic int wanted;
    _Atomic int done;
};

struct copy {
    void *dst;
    const void *src;
    size_t bytes;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct allocation *allocations;
static _Thread_local int current_device;

void stand_in_die(const char *why)
{
    fprintf(stderr, "stand-in for NCCL: %s\n", why);
    abort();
}

void stand_in_pause(int round)
{
    struct timespec pause = {0, 50000};

    if (round < 10)
        (void)sched_yield();
    else
        (void)nanosleep(&pause, NULL);
}

static void *make(enum memory_kind kind, size_t bytes)
{
    struct allocation *made = calloc(1, sizeof *made);

    if (made == NULL || (made->memory = aligned_alloc(64, (bytes + 63) & ~(size_t)63)) == NULL)
        stand_in_die("no memory");
    made->bytes = bytes;
    made->kind = kind;
    (void)pthread_mutex_lock(&mutex);
    made->next = allocations;
    allocations = made;
    (void)pthread_mutex_unlock(&mutex);
    return made->memory;
}

/* The allocation that holds [memory, memory + bytes) is of this kind. */
static bool is_in(const uint8_t *memory, size_t bytes, enum memory_kind kind)
{
    bool found = false;

    (void)pthread_mutex_lock(&mutex);
    for (const struct allocation *at = allocations; at != NULL && !found; at = at->next)
        found = at->kind == kind && memory >= at->memory && memory + bytes <= at->memory + at->bytes;
    (void)pthread_mutex_unlock(&mutex);
    return found;
}

static void unmake(void *memory)
{
    struct allocation *gone = NULL;

    (void)pthread_mutex_lock(&mutex);
    for (struct allocation **at = &allocations; *at != NULL && gone == NULL; at = &(*at)->next)
        if ((*at)->memory == memory) {
            gone = *at;
            *at = gone->next;
            break;
        }
    (void)pthread_mutex_unlock(&mutex);
    if (gone == NULL)
        stand_in_die("memory is freed that was not allocated");
    free(gone->memory);
    free(gone);
}

uint8_t *stand_in_device_memory(const void *pointer, size_t bytes)
{
    uint8_t *memory = (uint8_t *)((uintptr_t)pointer ^ DEVICE_BIT); /* NOLINT: the bit is no part of the address */

    if (!is_in(memory, bytes, DEVICE))
        stand_in_die("an operation on memory that is not the device's");
    return memory;
}

int cudaRuntimeGetVersion(int *version)
{
    *version = 13000;
    return CUDA_OK;
}

int cudaGetDeviceCount(int *count)
{
    const char *given = getenv("STAND_IN_DEVICES");

    *count = given != NULL ? (int)strtol(given, NULL, 10) : 8;
    return *count > 0 ? CUDA_OK : 100;
}

int cudaGetDevice(int *device)
{
    *device = current_device;
    return CUDA_OK;
}

int cudaSetDevice(int device)
{
    int count;

    (void)cudaGetDeviceCount(&count);
    if (device < 0 || device >= count)
        return 101;
    current_device = device;
    return CUDA_OK;
}

int cudaMalloc(void **memory, size_t bytes)
{
    *memory = (void *)((uintptr_t)make(DEVICE, bytes) ^ DEVICE_BIT);
    return CUDA_OK;
}

int cudaFree(void *memory)
{
    if (memory != NULL)
        unmake((void *)((uintptr_t)memory ^ DEVICE_BIT));
    return CUDA_OK;
}

int cudaHostAlloc(void **memory, size_t bytes, unsigned flags)
{
    (void)flags;
    *memory = make(PINNED, bytes);
    return CUDA_OK;
}

int cudaFreeHost(void *memory)
{
    if (memory != NULL)
        unmake(memory);
    return CUDA_OK;
}

static void *run_stream(void *argument)
{
    struct cuda_stream *stream = argument;

    (void)pthread_mutex_lock(&stream->mutex);
    for (;;) {
        struct task *task = stream->first;
        if (task == NULL && stream->closing)
            break;
        if (task == NULL) {
            (void)pthread_cond_wait(&stream->changed, &stream->mutex);
            continue;
        }
        stream->first = task->next;
        (void)pthread_mutex_unlock(&stream->mutex);
        task->run(task->argument);
        free(task);
        (void)pthread_mutex_lock(&stream->mutex);
    }
    (void)pthread_mutex_unlock(&stream->mutex);
    return NULL;
}

int cudaStreamCreateWithFlags(struct cuda_stream **stream, unsigned flags)
{
    struct cuda_stream *made = calloc(1, sizeof *made);

    (void)flags;
    if (made == NULL)
        return 2;
    (void)pthread_mutex_init(&made->mutex, NULL);
    (void)pthread_cond_init(&made->changed, NULL);
    if (pthread_create(&made->thread, NULL, run_stream, made) != 0)
        stand_in_die("no thread for a stream");
    *stream = made;
    return CUDA_OK;
}

int cudaStreamDestroy(struct cuda_stream *stream)
{
    (void)pthread_mutex_lock(&stream->mutex);
    stream->closing = true;
    (void)pthread_cond_signal(&stream->changed);
    (void)pthread_mutex_unlock(&stream->mutex);
    (void)pthread_join(stream->thread, NULL);
    (void)pthread_mutex_destroy(&stream->mutex);
    (void)pthread_cond_destroy(&stream->changed);
    free(stream);
    return CUDA_OK;
}

void stand_in_enqueue(struct cuda_stream *stream, void (*run)(void *argument), void *argument)
{
    struct task *task = calloc(1, sizeof *task);

    if (task == NULL)
        stand_in_die("no memory");
    task->run = run;
    task->argument = argument;
    (void)pthread_mutex_lock(&stream->mutex);
    if (stream->first == NULL)
        stream->first = task;
    else
        stream->last->next = task;
    stream->last = task;
    (void)pthread_cond_signal(&stream->changed);
    (void)pthread_mutex_unlock(&stream->mutex);
}

static void run_copy(void *argument)
{
    struct copy *copy = argument;

    memcpy(copy->dst, copy->src, copy->bytes);
    free(copy);
}

int cudaMemcpyAsync(void *dst, const void *src, size_t bytes, int kind, struct cuda_stream *stream)
{
    struct copy *copy = calloc(1, sizeof *copy);
    bool to_device = kind == CUDA_HOST_TO_DEVICE;
    const void *host = to_device ? src : dst;

    if (copy == NULL)
        return 2;
    if ((!to_device && kind != CUDA_DEVICE_TO_HOST) || !is_in(host, bytes, PINNED))
        stand_in_die("a copy from or to memory that is not pinned");
    copy->dst = to_device ? stand_in_device_memory(dst, bytes) : dst;
    copy->src = to_device ? src : stand_in_device_memory(src, bytes);
    copy->bytes = bytes;
    stand_in_enqueue(stream, run_copy, copy);
    return CUDA_OK;
}

int cudaEventCreateWithFlags(struct cuda_event **event, unsigned flags)
{
    (void)flags;
    *event = calloc(1, sizeof **event);
    return *event != NULL ? CUDA_OK : 2;
}

int cudaEventDestroy(struct cuda_event *event)
{
    free(event);
    return CUDA_OK;
}

static void run_event(void *argument)
{
    struct cuda_event *event = argument;

    atomic_fetch_add(&event->done, 1);
}

int cudaEventRecord(struct cuda_event *event, struct cuda_stream *stream)
{
    atomic_fetch_add(&event->wanted, 1);
    stand_in_enqueue(stream, run_event, event);
    return CUDA_OK;
}

int cudaEventQuery(struct cuda_event *event)
{
    return atomic_load(&event->done) == atomic_load(&event->wanted) ? CUDA_OK : CUDA_NOT_READY;
}

const char *cudaGetErrorString(int result)
{
    return result == CUDA_OK ? "no error" : result == 100 ? "no CUDA-capable device is detected" : "some CUDA error";
}
