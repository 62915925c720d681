/* SPDX-License-Identifier: BSD-3-Clause */
#include "schedule.h"
#include "explorer.h"
#include "medium.h"
#include "pm/thread.h"
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>

enum state { RUNS, WAITS, ENDED };

bool schedule_active;
uint64_t schedule_events;

static struct {
    pthread_t handle;
    sem_t turn;
    enum state state;
    bool ends; /* has left its body; its destructors run */
} threads[THREADS_MAX];
static struct schedule plan;
static unsigned next_preemption;
static void (*body)(unsigned thread);
static sem_t
    left_body; /* counts those that are ready, and those that have left their bodies, of which the last is `ending` */
static unsigned ending;

static void wait_for_turn(unsigned thread)
{
    while (sem_wait(&threads[thread].turn) != 0)
        ;
    medium_thread = thread;
}

static bool can_run(unsigned thread)
{
    return threads[thread].state == RUNS;
}

static unsigned runnable_from(unsigned thread)
{
    for (unsigned i = 0; i < plan.threads; i++)
        if (can_run((thread + i) % plan.threads))
            return (thread + i) % plan.threads;
    return plan.threads;
}

static void switch_to(unsigned thread)
{
    unsigned self = medium_thread;
    const void *site = medium_site, *caller = medium_caller;
    if (thread == self)
        return;
    medium_site = medium_caller = NULL;
    sem_post(&threads[thread].turn);
    wait_for_turn(self);
    medium_site = site;
    medium_caller = caller;
}

/* In a check the other threads stay where they are: they have crashed. */
void schedule_event(void)
{
    if (explorer_level() != 0 || threads[medium_thread].ends)
        return;
    schedule_events++;
    if (next_preemption == plan.count || schedule_events != plan.preemption[next_preemption].event)
        return;
    unsigned to = runnable_from(plan.preemption[next_preemption++].thread % plan.threads);
    if (to < plan.threads)
        switch_to(to);
}

/* A lock is not free: whoever can run does, until this one is looked at again. */
void schedule_wait(void)
{
    unsigned self = medium_thread;
    if (!schedule_active || explorer_level() != 0)
        explorer_fail("a lock is wanted that nobody else can release");
    threads[self].state = WAITS;
    unsigned to = runnable_from(self + 1);
    if (to == plan.threads)
        explorer_fail("deadlock: every thread waits for a lock");
    sem_post(&threads[to].turn);
    wait_for_turn(self);
    threads[self].state = RUNS;
}

/* Something was released: those who wait may look again. */
void schedule_wake(void)
{
    if (schedule_active && explorer_level() == 0)
        for (unsigned i = 0; i < plan.threads; i++)
            if (threads[i].state == WAITS)
                threads[i].state = RUNS;
}

static bool another_ends(unsigned self)
{
    for (unsigned i = 0; i < plan.threads; i++)
        if (i != self && threads[i].ends && threads[i].state != ENDED)
            return true;
    return false;
}

/*
 * The baton stays with a thread that ends until it has: its destructors are a part of what is tested. Only a lock makes it pass
 * the baton on there; it then gets it back before another one may end.
 */
static void *run_thread(void *argument)
{
    unsigned self = (unsigned)(uintptr_t)argument;
    wait_for_turn(self);
    pm_thread_get(); /* a crash inside would find the thread's block half made, as no process that recovers does */
    sem_post(&left_body);
    wait_for_turn(self);
    body(self);
    medium_settle();
    while (another_ends(self))
        schedule_wait();
    threads[self].ends = true;
    ending = self;
    sem_post(&left_body);
    return NULL;
}

/* One after the other, without crash points. */
static void make_ready(void)
{
    bool recording = levels[0].recording;
    levels[0].recording = false;
    for (unsigned i = 0; i < plan.threads; i++) {
        sem_post(&threads[i].turn);
        while (sem_wait(&left_body) != 0)
            ;
    }
    levels[0].recording = recording;
}

void schedule_run(const struct schedule *schedule, void (*new_body)(unsigned thread))
{
    plan = *schedule;
    body = new_body;
    next_preemption = 0;
    schedule_events = 0;
    sem_init(&left_body, 0, 0);
    for (unsigned i = 0; i < plan.threads; i++) {
        threads[i].state = RUNS;
        threads[i].ends = false;
        sem_init(&threads[i].turn, 0, 0);
        if (pthread_create(&threads[i].handle, NULL, run_thread, (void *)(uintptr_t)i) != 0) {
            perror("crash tests: pthread_create");
            exit(2);
        }
    }
    make_ready();
    schedule_active = true;
    for (unsigned next; (next = runnable_from(0)) < plan.threads;) {
        sem_post(&threads[next].turn);
        while (sem_wait(&left_body) != 0)
            ;
        unsigned self = ending;
        pthread_join(threads[self].handle, NULL);
        threads[self].state = ENDED;
        schedule_wake();
    }
    schedule_active = false;
    medium_thread = 0;
    for (unsigned i = 0; i < plan.threads; i++)
        sem_destroy(&threads[i].turn);
    sem_destroy(&left_body);
}
