import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { SlotKey } from '../../packages/agent/src/core/lease/messages.ts'
import { hasState } from '../../packages/agent/src/adapters/watchdog/state-file.ts'
import { isAlive } from './processes.ts'
import { cgroupTree, freeze, processBed, type ProcessBed } from './watchdog.bed.ts'

const slot = 'database.1' as SlotKey

/** What is the same whatever the cgroups is tried with one kind of them. */
const main = cgroupTree('v1') === undefined ? 'v2' : 'v1'

for (const version of ['v1', 'v2'] as const) {
  const tree = cgroupTree(version)
  describe.skipIf(tree === undefined)(
    `the watchdog's process on cgroup ${version} (skipped where this machine has none, or lets us make none)`,
    () => {
      let bed: ProcessBed
      let cgroup: string
      let agent: ChildProcess | undefined
      beforeEach(async () => {
        bed = await processBed(tree!)
        cgroup = bed.cgroup('slot')
      })
      afterEach(async () => {
        if (agent !== undefined && agent.exitCode === null && agent.signalCode === null) {
          process.kill(-agent.pid!, 'SIGKILL')
          await once(agent, 'exit')
        }
        agent = undefined
        await bed.close()
      })

      const until = async (what: () => boolean, withinMs: number): Promise<void> => {
        const fromMs = bed.nowMs()
        while (!what() && bed.nowMs() < fromMs + withinMs) await bed.pass(5)
      }
      const isGone = (): boolean => !bed.isOccupied(cgroup)
      const gone = async (): Promise<number | undefined> => {
        await until(isGone, 3_000)
        await bed.pass(50)
        const over = (await bed.another().list()).find((watched) => watched.slot === slot)
        return over?.kind === 'over' && over.goneAtMs !== undefined
          ? over.goneAtMs - over.deadlineMs
          : undefined
      }
      const arm = async (inMs: number): Promise<number> => {
        const warm = { slot: 'warm.1' as SlotKey, fence: 1, cgroup: bed.cgroup('warm') }
        await bed.watchdog.arm({ ...warm, deadlineMs: bed.nowMs() + 60_000 })
        const deadlineMs = bed.nowMs() + inMs
        const answer = await bed.watchdog.arm({ slot, fence: 5, cgroup, deadlineMs })
        expect(answer).toEqual({ kind: 'armed', deadlineMs })
        return deadlineMs
      }
      /** A process that has the watchdog started, arms it for the slot, and waits. */
      const agentArms = async (inMs: number): Promise<number> => {
        const client = new URL('../../packages/agent/src/adapters/watchdog/client.ts', import.meta.url)
        const clock = new URL('../../packages/agent/src/adapters/watchdog/boot-clock.ts', import.meta.url)
        const settings = new URL('../../packages/agent/src/defaults.ts', import.meta.url)
        const script = `
          const { processWatchdog } = await import('${client.href}')
          const { bootMs } = await import('${clock.href}')
          const { defaults } = await import('${settings.href}')
          const setup = { directory: '${bed.directory}', cgroupRoot: '${bed.tree.root}', settings: defaults }
          const watchdog = processWatchdog(setup)
          // Its start takes a while.
          const warm = { slot: 'warm.1', fence: 1, cgroup: '${bed.cgroup('warm')}', deadlineMs: bootMs() + 60_000 }
          await watchdog.arm(warm)
          const deadlineMs = bootMs() + ${inMs}
          const armed = await watchdog.arm({ slot: '${slot}', fence: 5, cgroup: '${cgroup}', deadlineMs })
          process.stdout.write(JSON.stringify(armed) + '\\n')
          setInterval(() => undefined, 1_000)`
        agent = spawn(process.execPath, ['--input-type=module', '-e', script], {
          stdio: ['ignore', 'pipe', 'inherit'],
          detached: true,
        })
        const [said] = (await once(agent.stdout!, 'data')) as [Buffer]
        return (JSON.parse(String(said)) as { deadlineMs: number }).deadlineMs
      }

      it.each(version === main ? (['SIGSTOP', 'SIGKILL', 'SIGHUP'] as const) : (['SIGSTOP'] as const))(
        'kills in time though the agent, and all its process group, gets %s',
        async (signal) => {
          const deadlineMs = await agentArms(900)
          await bed.run(cgroup, 'sleep 60')
          process.kill(-agent!.pid!, signal)
          await bed.pass(deadlineMs - 100 - bed.nowMs())
          expect(isGone()).toBe(false)
          expect(await gone()).toBeLessThan(1_000)
        },
      )

      it('what forks as fast as it can does not get away', async () => {
        await arm(900)
        // Each forks anew when its own end is near; at most 200 of them, for at most 5 s.
        const fork = `i=0; while [ $i -lt 200 ]; do (sleep 0.05; exec sleep 30) & i=$((i+1)); sleep 0.01; done; wait`
        await bed.run(cgroup, fork)
        await bed.run(cgroup, `trap '' TERM; ${fork}`)
        expect(await gone()).toBeLessThan(1_000)
        await bed.pass(300)
        expect(isGone()).toBe(true)
      })

      it.skipIf(version === 'v2')('what is paused dies too', async () => {
        await arm(600)
        const child = await bed.run(cgroup, 'sleep 60')
        freeze(bed.tree, cgroup, child.pid!)
        expect(await gone()).toBeLessThan(1_000)
      })

      describe.skipIf(version !== main)('the same on all cgroups', () => {
        it('a signal that is meant to end it does not, while something is watched', async () => {
          await arm(800)
          await bed.run(cgroup, 'sleep 60')
          const pid = await bed.pid()
          for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.kill(pid, signal)
          expect(await gone()).toBeLessThan(1_000)
          expect(await bed.pid()).toBe(pid)
        })

        it('with nothing to watch a signal ends it, and it leaves no state', async () => {
          const deadlineMs = bed.nowMs() + 10_000
          await bed.watchdog.arm({ slot, fence: 5, cgroup, deadlineMs })
          expect(hasState(bed.directory)).toBe(true)
          expect(await bed.watchdog.disarm(slot, 5)).toEqual({ kind: 'disarmed' })
          expect(hasState(bed.directory)).toBe(false)
          const pid = await bed.pid()
          process.kill(pid, 'SIGTERM')
          await until(() => !isAlive(pid), 2_000)
          expect(isAlive(pid)).toBe(false)
          expect(bed.losses).toEqual([])
          // And the next task finds another.
          expect(await bed.watchdog.arm({ slot, fence: 6, cgroup, deadlineMs })).toMatchObject({
            kind: 'armed',
          })
          expect(await bed.pid()).not.toBe(pid)
        })

        it('one that was dead at the deadline kills as soon as it is started again', async () => {
          const deadlineMs = await arm(1_000)
          await bed.run(cgroup, 'sleep 60')
          await bed.watchdog.close()
          await bed.crash('kept')
          await bed.pass(deadlineMs + 200 - bed.nowMs())
          expect(isGone()).toBe(false)
          // A new agent asks what is watched.
          await bed.another().list()
          expect(await gone()).toBeDefined()
        })

        it('one that hangs is a loss that the agent hears of', async () => {
          await bed.watchdog.arm({ slot, fence: 5, cgroup, deadlineMs: bed.nowMs() + 60_000 })
          process.kill(await bed.pid(), 'SIGSTOP')
          await until(() => bed.losses.length > 0, 8_000)
          expect(bed.losses).toMatchObject([
            { slots: [slot], why: expect.stringContaining('no answer within') },
          ])
          const directoryState = readFileSync(join(bed.directory, 'state.json'), 'utf8')
          expect(directoryState).toContain(slot)
          process.kill(saidPid(bed.directory), 'SIGCONT')
        })

        it('there is one for a directory, whoever asks', async () => {
          const deadlineMs = bed.nowMs() + 60_000
          const clients = [bed.watchdog, bed.another(), bed.another()]
          const answers = await Promise.all(
            clients.map((client, index) =>
              client.arm({
                slot: `s.${index}` as SlotKey,
                fence: 1,
                cgroup: bed.cgroup(`s${index}`),
                deadlineMs,
              }),
            ),
          )
          expect(answers.map(({ kind }) => kind)).toEqual(['armed', 'armed', 'armed'])
          expect(await bed.watchdog.list()).toHaveLength(3)
        })

        it('takes no order for a whole level, for a way around, or for a cgroup that it is in itself', async () => {
          const deadlineMs = bed.nowMs() + 60_000
          await bed.watchdog.arm({ slot: 'x.1' as SlotKey, fence: 1, cgroup, deadlineMs })
          const own = readFileSync('/proc/self/cgroup', 'utf8')
            .split('\n')
            .map((line) => line.split(':')[2] ?? '')
          const wrong = ['/', '/docker', `${cgroup}/../..`, `${cgroup}/.`, 'relative/path', `${cgroup}//x`]
          for (const path of [...wrong, ...own]) {
            const answer = await bed.watchdog.arm({ slot, fence: 5, cgroup: path, deadlineMs })
            expect({ path, kind: answer.kind }).not.toEqual({ path, kind: 'armed' })
          }
          expect(await bed.watchdog.list()).toHaveLength(1)
          expect(bed.losses).toEqual([])
        })

        it('whoever speaks something else is cut off, and the rest goes on', async () => {
          await bed.watchdog.arm({ slot, fence: 5, cgroup, deadlineMs: bed.nowMs() + 60_000 })
          for (const words of ['GET / HTTP/1.1\n', '{"ask":"arm","id":1}\n', 'x'.repeat(100_000)]) {
            const socket = connect(join(bed.directory, 'socket'), () => socket.write(words))
            socket.on('error', () => undefined)
            await new Promise((resolve) => {
              socket.resume().once('close', resolve)
            })
          }
          expect(await bed.watchdog.list()).toHaveLength(1)
        })

        it('a state that cannot be read is a loss, and set aside', async () => {
          await bed.watchdog.arm({ slot, fence: 5, cgroup, deadlineMs: bed.nowMs() + 60_000 })
          writeFileSync(join(bed.directory, 'state.json'), '{"bootId":')
          await bed.crash('kept')
          await until(() => bed.losses.length > 0, 5_000)
          expect(bed.losses).toMatchObject([{ slots: [slot] }])
          expect(readFileSync(join(bed.directory, 'state.json.damaged'), 'utf8')).toBe('{"bootId":')
        })
      })
    },
  )
}

/** Also of one that does not answer. */
function saidPid(directory: string): number {
  const log = readFileSync(join(directory, 'log'), 'utf8')
  const pid = /watching as (\d+)/.exec(log)?.[1]
  if (pid === undefined) throw new Error(`the watchdog did not say its pid: ${log}`)
  return Number(pid)
}
