import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { EventOf, EventType, Vm0Event } from '@vm0/contract'
import type { Run, Why } from '../packages/vm0/src/index.js'
import { command } from './support/command.js'
import { TestPlatform } from './support/platform.js'

// The fault matrix: real programs that end a run, or what it does, in each way that the black box tells apart.

const bash = (line: string) => ({ tools: [{ name: 'Bash', input: { command: line, description: 'x' } }] })
/** Grows by steps, so that there is something to see. */
const grow = (upToMiB: number, pauseS = 0): string => `cd /workspace && echo kept > new.txt && cat > grow.py <<'END'
import time
kept = []
print("growing", flush=True)
for _ in range(${upToMiB} // 8):
    kept.append(bytearray(b"x" * (8 << 20)))
    time.sleep(${pauseS})
print("grown", flush=True)
END
python3 grow.py; echo status $?`
const told = { messages: 'Note from the platform: Your command.*was stopped' }
const script = {
  name: 'black-box',
  conversations: [
    { when: '^grow', steps: [bash(grow(4096)), { expect: told, text: 'told' }] },
    { when: '^little more', steps: [bash(grow(900)), { expect: { messages: 'raised to' }, text: 'done' }] },
    {
      when: '^fork bomb',
      steps: [
        bash(`cd /workspace; timeout 1.5 python3 -c '
import os, time
for _ in range(200):
    try:
        if os.fork() == 0: time.sleep(1.5); os._exit(0)
    except OSError: time.sleep(0.01)
'; sleep 1; echo over`),
        { text: 'bombed' },
      ],
    },
    {
      when: '^fill the disk',
      steps: [bash('cd /workspace; yes | head -c 300M > big; sleep 2; rm big'), { text: 'filled' }],
    },
    {
      when: '^lock',
      steps: [bash('cd /tmp; (flock 9; sleep 300) 9>l & sleep 0.5; flock l echo never'), { text: 'never' }],
    },
    { when: '^ask me', steps: [bash('mkfifo /tmp/f; cat </tmp/f & exec 8>/tmp/f; wait'), { text: 'never' }] },
    {
      when: '^connect',
      steps: [bash(`python3 -c 'import socket; socket.create_connection(("10.1.2.3", 5432))'`), { text: 'never' }],
    },
    { when: '^stop yourself', steps: [bash('kill -STOP $PPID; sleep 300'), { text: 'never' }] },
    {
      when: '^later',
      steps: [bash(`until test -e /workspace/go; do sleep 0.1; done; ${grow(4096, 0.01)}`), { text: 'survived' }],
    },
    { when: '^sleeps', steps: [bash('echo begun; sleep 300'), { text: 'never' }] },
    { when: '^get ready', steps: [{ text: 'ready' }] },
    {
      when: '^starve',
      steps: [bash('for worker in 1 2 3 4; do (while :; do :; done) & done; wait'), { text: 'never' }],
    },
    { when: '^model hangs', steps: [{ fault: { kind: 'hang' as const } }] },
    { when: '^segfault', steps: [bash('kill -SEGV $PPID; sleep 60'), { text: 'never' }] },
    {
      when: '^build',
      steps: [
        bash(
          `cd /workspace; python3 -c 'import time; kept = bytearray(b"x" * (60 << 20)); time.sleep(0.6)'; sleep 0.3; ls`,
        ),
        bash(`cd /tmp; head -c 8M /dev/urandom > written; python3 -c 'exit(7)'; timeout 0.1 sleep 9; true`),
        bash('for n in $(seq 300); do /bin/true; done'),
        { text: 'built' },
      ],
    },
  ],
}

let platform: TestPlatform
beforeAll(async () => {
  platform = await TestPlatform.start([script], { VM0_MODEL_PATIENCE_SECONDS: '60' })
})
afterAll(() => platform?.stop())

async function eventsOf<T extends EventType>(run: Run, type: T): Promise<EventOf<T>[]> {
  const events: Vm0Event[] = []
  for await (const event of run.events()) events.push(event)
  return events.filter((event): event is EventOf<T> & Vm0Event => event.type === type)
}
async function whyOf(run: Run): Promise<Why> {
  await run.result()
  return run.why()
}
async function firstLines(run: Run): Promise<string> {
  const { stdout } = await command(platform, ['why', run.id.slice(-8)], { env: { NO_COLOR: '1' } })
  return stdout.split('\n').slice(0, 5).join('\n')
}
const MiB = 1024 ** 2
const isV1 = readdirSync('/sys/fs/cgroup').includes('memory')

/** The file of version 1 that holds the sandbox of a run, and tells of what the kernel has killed in it. */
async function controlOf(run: Run): Promise<string> {
  for await (const event of run) if (event.type === 'tool.started') break
  const [ready] = await readyOf(run)
  const installation = readFileSync(join(platform.dataDir, 'installation'), 'utf8').trim()
  return `/sys/fs/cgroup/memory/vm0/${installation}/${ready}/memory.oom_control`
}
async function readyOf(run: Run): Promise<string[]> {
  for await (const event of run) if (event.type === 'sandbox.ready') return [event.sandboxId]
  return []
}

test('what used the memory up is ended alone; the agent is told, in words that it can act on, and goes on', async () => {
  const run = platform.client.run({ prompt: 'grow', resources: { memoryMiB: 768 } })
  expect((await run.result()).outcome).toBe('succeeded')
  const [event, ...more] = await eventsOf(run, 'sandbox.out_of_memory')
  expect(more).toEqual([])
  expect(event).toMatchObject({
    detected: 'held',
    action: 'stopped_process',
    limitBytes: 768 * MiB,
    victims: [],
    blamed: {
      process: { command: 'python3 grow.py', cwd: '/workspace' },
      isAgent: false,
      toolId: expect.stringMatching(/^toolu_/),
      lastOutput: ['growing'],
    },
    uncommitted: { paths: ['grow.py', 'new.txt'], more: 0 },
  })
  expect(event!.blamed!.rssBytes).toBeGreaterThan(400 * MiB)
  expect(event!.scene.memoryCurve.length).toBeGreaterThan(2)
  expect(event!.note).toMatch(
    /used \d+ MiB of the 768 MiB .* was stopped \(`python3 grow.py` in \/workspace\).*fewer workers/,
  )
  const [finished] = await eventsOf(run, 'tool.finished')
  expect(finished!.output).toContain('status 137')
  const why = await run.why()
  expect(why.findings.map(({ kind }) => kind)).toEqual(['memory.exceeded'])
  expect(why.report).toMatchObject({ trigger: 'out_of_memory', action: 'stopped_process' })
  expect(platform.model.failures).toEqual([])
})

test('twice the memory, where the run asked for that: nothing is ended', async () => {
  const run = platform.client.run({ prompt: 'little more', resources: { memoryMiB: 768 }, onOutOfMemory: 'double' })
  expect((await run.result()).outcome).toBe('succeeded')
  const [event] = await eventsOf(run, 'sandbox.out_of_memory')
  expect(event).toMatchObject({ action: 'doubled', limitBytes: 1536 * MiB })
  const [finished] = await eventsOf(run, 'tool.finished')
  expect(finished!.output).toContain('grown\nstatus 0')
})

test('a run that is to end for it: cause, culprit and next step in the first five lines', async () => {
  const run = platform.client.run({ prompt: 'grow', resources: { memoryMiB: 768 }, onOutOfMemory: 'stop' })
  const why = await whyOf(run)
  expect([why.state, why.reason, why.certainty]).toEqual(['died', 'out_of_memory', 'known'])
  expect(why.culprit).toMatchObject({ toolId: expect.stringMatching(/^toolu_/), lastOutput: ['growing'] })
  const [event] = await eventsOf(run, 'sandbox.out_of_memory')
  expect(event!.action).toBe('stopped_run')
  // Its call never ended, and has what it had started below it all the same.
  const { spans } = await run.trace()
  const python = spans.find(({ kind, name }) => kind === 'process' && name === 'python3')
  expect(python?.attributes['vm0.process.rss.peak']).toBeGreaterThan(400 * MiB)
  expect(spans.find(({ id }) => id === python?.parentId)).toMatchObject({ kind: 'tool', durationMs: null })
  const lines = await firstLines(run)
  expect(lines).toMatch(/^✗ died \(out_of_memory\) /)
  expect(lines).toMatch(/cause +the sandbox ran out of memory of 768 MiB: `python3 grow.py` in \/workspace had \d+ MiB/)
  expect(lines).toMatch(/culprit .*grow\.py.* had started it\n.*it said +growing\n.*next .*--memory 1536/)
})

test('the limit on processes, and a full disk, are told by the kernel’s counters, whatever came of them', async () => {
  const bomb = platform.client.run({ prompt: 'fork bomb', resources: { processes: 64 } })
  const session = await platform.client.sessions.create({ resources: { diskMiB: 128 } })
  const filled = session.run('fill the disk')
  const [bombed] = await Promise.all([whyOf(bomb), filled.result()])
  expect(bombed.findings.map(({ kind }) => kind)).toContain('pids.exceeded')
  const [report] = await eventsOf(bomb, 'sandbox.report')
  expect(report).toMatchObject({ trigger: 'process_limit', process: { command: expect.stringContaining('python3') } })
  const [full] = await eventsOf(filled, 'sandbox.report')
  expect(full).toMatchObject({ trigger: 'disk_full', toolIds: [expect.stringMatching(/^toolu_/)] })
})

/** A run whose command is at work, in a sandbox with this in a file of its control group. */
async function starve(file: string, value: string, timeoutMs = 9_000): Promise<{ starved: Run }> {
  const { session } = await platform.client.run({ prompt: 'get ready' })
  const run = session.run({ prompt: 'starve', limits: { timeoutMs } })
  writeFileSync((await controlOf(run)).replace('/memory/', '/cpu/').replace('memory.oom_control', file), value)
  return { starved: run }
}

/** One that gets 2% of a CPU, which a busy host leaves it too; one that may use all, and stands back behind others, which stand back behind all else. */
async function starveBoth(): Promise<Record<'limited' | 'crowded' | 'crowd', Run>> {
  const { starved: crowd } = await starve('cpu.shares', '64', 60_000)
  const [limited, crowded] = await Promise.all([starve('cpu.cfs_quota_us', '2000'), starve('cpu.shares', '2')])
  return { limited: limited.starved, crowded: crowded.starved, crowd }
}

test('an agent that tells nothing: what it waits for; one whose commands get no CPU time is told apart', async () => {
  const starving = isV1 ? await starveBoth() : undefined
  const cases: [string, RegExp, string][] = [
    ['lock', /`flock l echo never` waited for a lock/, 'lock'],
    ['ask me', /waited for input that nobody gives/, 'CI=1'],
    ['connect', /waited for 10\.1\.2\.3:5432, where nobody answers: it is a private address/, 'time-out'],
    ['sleeps', /`sleep 300` slept/, 'timeout 60'],
    ['stop yourself', /the agent itself was stopped/, 'kill -STOP'],
    ['model hangs', /the model had not answered/, 'provider'],
  ]
  const runs = cases.map(([prompt]) =>
    platform.client.run({ prompt, limits: { idleTimeoutMs: 6_000 }, onLoss: 'fail' }),
  )
  const found = await Promise.all(runs.map(whyOf))
  for (const [index, [prompt, cause, next]] of cases.entries()) {
    const { state, reason, cause: told, next: steps } = found[index]!
    expect([prompt, state, reason]).toEqual([prompt, 'died', 'agent_hung'])
    expect(told).toMatch(cause)
    expect(steps[0]).toContain(next)
  }
  expect(await firstLines(runs[0]!)).toMatch(/cause .*flock.*\n(?:.*\n)*.*next/)
  for (const why of found) expect(why.findings.map(({ kind }) => kind)).not.toContain('cpu.starved')
  if (!starving) return
  const starved = { culprit: { command: expect.stringContaining('while :') }, report: { trigger: 'cpu_starved' } }
  const { limited, crowded, crowd } = starving
  expect(await whyOf(limited)).toMatchObject({
    reason: 'timed_out',
    cause: expect.stringMatching(/and its processes waited \d+% of the time for CPU time: .* used up its 0\.02 CPUs$/),
    findings: [{ kind: 'cpu.starved', adjust: { where: 'resources' } }],
    ...starved,
  })
  expect(await firstLines(limited)).toMatch(/cause .*CPU time.*\n(?:.*\n)*.*next .*cpus/)
  const why = await whyOf(crowded)
  await crowd.cancel()
  expect(why).toMatchObject({
    reason: 'timed_out',
    cause: expect.stringMatching(/and its processes waited \d+% of the time for a CPU: others on the host had them$/),
    findings: [{ kind: 'cpu.crowded', adjust: { where: 'host' } }],
    ...starved,
  })
  expect(why.evidence.map(({ text }) => text).join()).toMatch(/the kernel's account: .* CPUs used .* tasks waited/)
  expect(await firstLines(crowded)).toMatch(/cause .*others on the host.*\n(?:.*\n)*.*next .*fewer sandboxes/)
})

test('an agent that ends by a signal: which, and that memory was not the cause', async () => {
  const why = await whyOf(platform.client.run({ prompt: 'segfault', onLoss: 'fail' }))
  expect(why).toMatchObject({ reason: 'agent_crashed', cause: expect.stringMatching(/by signal 11 \(SIGSEGV\)$/) })
  expect(why.report).toMatchObject({ trigger: 'agent_ended' })
  expect(why.culprit).toMatchObject({ command: 'kill -SEGV $PPID; sleep 60' })
})

test('of a healthy run: the processes of its calls below them in the trace, short ones bounded, and no cause', async () => {
  const run = platform.client.run({ prompt: 'build' })
  const why = await whyOf(run)
  expect(why).toMatchObject({ state: 'succeeded', findings: [], report: null })
  const { spans } = await run.trace()
  const tools = spans.filter(({ kind }) => kind === 'tool')
  const processes = spans.filter(({ kind }) => kind === 'process')
  const python = processes.find(({ name }) => name === 'python3')
  expect(python).toMatchObject({ parentId: tools[0]!.id, status: 'ok' })
  expect(python!.attributes['vm0.process.rss.peak']).toBeGreaterThan(60 * MiB)
  expect(python!.attributes).toMatchObject({
    'process.exit.code': 0,
    'process.working_directory': '/workspace',
    'vm0.process.measured': 'kernel',
  })
  const of = (name: string) => processes.filter((span) => span.parentId === tools[1]!.id && span.name === name)
  expect(of('head')[0]!.attributes['vm0.process.io.written']).toBeGreaterThanOrEqual(8 * MiB)
  expect(of('python3')).toMatchObject([{ status: 'error', attributes: { 'process.exit.code': 7 } }])
  expect(processes.map(({ attributes }) => attributes['vm0.process.signal'])).toContain('SIGTERM')
  expect(processes.length).toBeLessThanOrEqual(150)
  // Each of the three hundred, most of which nobody looked at while they lived.
  expect(tools[2]!.attributes['vm0.tool.processes.seen']).toBeGreaterThanOrEqual(300)
  const { stdout } = await command(platform, ['trace', run.id.slice(-8)], { env: { NO_COLOR: '1' } })
  expect(stdout).toMatch(/└ Bash|├ Bash/)
  expect(stdout).toMatch(/python3 -c/)
})

test.runIf(isV1)('where nothing holds it the kernel kills, and its counter tells that at once', async () => {
  const session = await platform.client.sessions.create({ resources: { memoryMiB: 768 } })
  const run = session.run('later')
  writeFileSync(await controlOf(run), '0')
  const [live] = (await platform.client.sandboxes.list()).filter(({ sessionId }) => sessionId === session.id)
  expect(live).toMatchObject({
    runId: run.id,
    state: 'working',
    doing: expect.stringMatching(/^Bash until test/),
    memoryLimitBytes: 768 * MiB,
  })
  expect(live!.memoryBytes).toBeGreaterThan(50 * MiB)
  const shown = await command(platform, ['top'], { env: { NO_COLOR: '1' } })
  expect(shown.stdout).toContain(`${run.id.slice(-8)}  ${session.id.slice(-8)}  working`)
  await session.files.write('/workspace/go', '')
  expect((await run.result()).outcome).toBe('succeeded')
  const [event] = await eventsOf(run, 'sandbox.out_of_memory')
  expect(event).toMatchObject({ detected: 'killed', action: 'killed_by_kernel', blamed: null })
  expect(event!.victims.map(({ command: each }) => each).join()).toContain('python3')
  await session.delete()
})

test.runIf(isV1)(
  'when the platform is killed the kernel acts again; the next one holds the sandbox as before',
  async () => {
    const session = await platform.client.sessions.create({ resources: { memoryMiB: 768 } })
    const run = session.run('later')
    const control = await controlOf(run)
    expect(readFileSync(control, 'utf8')).toContain('oom_kill_disable 1')
    await platform.kill()
    await expect.poll(() => readFileSync(control, 'utf8')).toContain('oom_kill_disable 0')
    const [pid] = readFileSync(join(control, '../cgroup.procs'), 'utf8').split('\n')
    writeFileSync(`/proc/${pid}/root/workspace/go`, '')
    await expect.poll(() => readFileSync(control, 'utf8'), { timeout: 10_000 }).toMatch(/^oom_kill [1-9]/m)
    await platform.up()
    const again = platform.client.runs.get(run.id)
    expect((await again.result()).outcome).toBe('succeeded')
    // Nobody was there to see it; the count that was written down before tells it.
    expect((await eventsOf(again, 'sandbox.out_of_memory')).map(({ detected }) => detected)).toEqual(['killed'])
    expect(readFileSync(control, 'utf8')).toContain('oom_kill_disable 1')
    await platform.client.sessions.get(session.id).delete()
  },
)
