/* SPDX-License-Identifier: Apache-2.0 */
/* The system's clocks behind clock.h. */
#include "core/base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static uint64_t (*virtual_now)(void *state);
static void *virtual_state;

void ls_clock_set(uint64_t (*now_ns)(void *state), void *state)
{
    virtual_now = now_ns;
    virtual_state = state;
}

static uint64_t system_ns(clockid_t clock)
{
    struct timespec now;

    (void)clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t ls_clock_now_ns(void)
{
    if (virtual_now != NULL)
        return virtual_now(virtual_state);
    return system_ns(CLOCK_MONOTONIC);
}

double ls_clock_wall_s(void)
{
    return (double)system_ns(CLOCK_REALTIME) * 1e-9;
}

/* Field 22 of /proc/PID/stat: start of the process in clock ticks since boot. */
uint64_t ls_clock_since_start_of_ns(pid_t pid)
{
    char text[1024], path[64] = "/proc/self/stat";
    uint64_t tick_ns = 1000000000u / (uint64_t)sysconf(_SC_CLK_TCK);
    size_t length;
    char *field;
    FILE *file;

    if (pid > 0)
        (void)snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
    file = fopen(path, "r");
    if (file == NULL)
        return 0;
    length = fread(text, 1, sizeof text - 1, file);
    (void)fclose(file);
    text[length] = '\0';
    field = strrchr(text, ')');
    for (int i = 2; field != NULL && i < 22; i++) {
        field = strchr(field, ' ');
        if (field != NULL)
            field++;
    }
    if (field == NULL)
        return 0;
    return system_ns(CLOCK_BOOTTIME) - strtoull(field, NULL, 10) * tick_ns;
}
