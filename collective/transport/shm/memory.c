/* SPDX-License-Identifier: Apache-2.0 */
/* Registered memory and staging: pages are reserved in the memfd first, so that a full one is an error, no signal. */
#include "collective/transport/shm/shm_internal.h"

#include "core/base/alloc.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static size_t whole_pages(size_t bytes)
{
    return (bytes + 4095) & ~(size_t)4095;
}

static enum ls_status reserve_pages(const struct shm *shm, uint64_t offset, size_t bytes, struct ls_error *err)
{
    while (fallocate(shm->fd, 0, (off_t)offset, (off_t)bytes) != 0) {
        if (errno == EINTR)
            continue;
        return ls_error_set(err, LS_ENOMEM, "no shared memory for %zu bytes of rank %d: %s", bytes, shm->group->rank,
                            strerror(errno));
    }
    return LS_OK;
}

enum ls_status lsi_shm_reserve(void *state, size_t bytes, struct ls_error *err)
{
    struct shm *shm = state;
    size_t stride = whole_pages(bytes);

    return reserve_pages(shm, shm->file_end + (uint64_t)shm->group->rank * stride, stride, err);
}

enum ls_status lsi_shm_map(void *state, size_t bytes, void **memory, struct ls_error *err)
{
    struct shm *shm = state;
    size_t stride = whole_pages(bytes);
    size_t total = stride * (size_t)shm->group->world;
    struct shm_region *regions = ls_realloc(shm->regions, (size_t)shm->region_count + 1, sizeof regions[0]);
    void *base;

    if (regions == NULL)
        return ls_error_set(err, LS_ENOMEM, "no memory to note %zu shared bytes", bytes);
    shm->regions = regions;
    base = mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, shm->fd, (off_t)shm->file_end);
    if (base == MAP_FAILED)
        return ls_error_set(err, LS_ENOMEM, "cannot map %zu bytes of shared memory: %s", total, strerror(errno));
    regions[shm->region_count++] = (struct shm_region){shm->file_end, stride, base};
    shm->file_end += total;
    *memory = (uint8_t *)base + stride * (size_t)shm->group->rank;
    return LS_OK;
}

void *lsi_shm_peer(void *state, void *memory, int rank)
{
    struct shm *shm = state;

    for (int i = 0; i < shm->region_count; i++) {
        const struct shm_region *region = &shm->regions[i];
        uintptr_t own = (uintptr_t)region->base + region->stride * (size_t)shm->group->rank;
        if ((uintptr_t)memory >= own && (uintptr_t)memory - own < region->stride)
            return region->base + region->stride * (size_t)rank + ((uintptr_t)memory - own);
    }
    return NULL;
}

bool lsi_shm_offset_of(const struct shm *shm, const void *data, size_t bytes, uint64_t *offset)
{
    for (int i = 0; i < shm->region_count; i++) {
        const struct shm_region *region = &shm->regions[i];
        uintptr_t own = (uintptr_t)region->base + region->stride * (size_t)shm->group->rank;
        uintptr_t at = (uintptr_t)data;
        if (at >= own && at - own <= region->stride && bytes <= region->stride - (at - own)) {
            *offset = region->offset + (at - (uintptr_t)region->base);
            return true;
        }
    }
    return false;
}

void *lsi_shm_at(const struct shm *shm, uint64_t offset, size_t bytes)
{
    for (int i = 0; i < shm->region_count; i++) {
        const struct shm_region *region = &shm->regions[i];
        size_t total = region->stride * (size_t)shm->group->world;
        if (offset >= region->offset && offset - region->offset <= total && bytes <= total - (offset - region->offset))
            return region->base + (offset - region->offset);
    }
    return NULL;
}

enum ls_status lsi_shm_reserve_staging(struct shm *shm, struct ls_error *err)
{
    enum ls_status status;

    if (shm->staging_reserved)
        return LS_OK;
    status =
        reserve_pages(shm, shm->control_bytes + (uint64_t)shm->group->rank * SHM_STAGING_BYTES, SHM_STAGING_BYTES, err);
    shm->staging_reserved = status == LS_OK;
    return status;
}
