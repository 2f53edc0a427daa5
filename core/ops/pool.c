/* SPDX-License-Identifier: Apache-2.0 */
/* Memory of a context that ends all at once: blocks that only grow. */
#include "core/ops/context_internal.h"

#include "core/base/alloc.h"

#include <string.h>

enum { BLOCK_BYTES = 64 << 10 };

struct lsi_block {
    struct lsi_block *next;
    size_t used, size;
    _Alignas(16) unsigned char data[];
};

void *lsi_pool_take(struct lsi_pool *pool, size_t bytes)
{
    struct lsi_block *block = pool->head;
    size_t size = (bytes + 15) & ~(size_t)15;
    void *memory;

    if (size < bytes)
        return NULL;
    if (block == NULL || block->size - block->used < size) {
        size_t room = size > BLOCK_BYTES ? size : BLOCK_BYTES;

        block = ls_alloc(sizeof(*block) + room);
        if (block == NULL)
            return NULL;
        *block = (struct lsi_block){.next = pool->head, .used = 0, .size = room};
        pool->head = block;
    }
    memory = block->data + block->used;
    block->used += size;
    memset(memory, 0, size);
    return memory;
}

void lsi_pool_reset(struct lsi_pool *pool)
{
    struct lsi_block *block = pool->head;

    while (block != NULL) {
        struct lsi_block *next = block->next;

        ls_free(block);
        block = next;
    }
    pool->head = NULL;
}
