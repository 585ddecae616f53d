import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { warmUpMark } from '@vm0/frameworks'
import type { Run, RunOptions } from '../packages/vm0/src/index.js'
import { command } from './support/command.js'
import { TestPlatform } from './support/platform.js'

/**
 * What an agent can see of its sandbox; one command, so that both are asked the same. Left out are the mark of a chore that it does when it is some seconds old, and its scratch
 * folder, whose names differ from start to start.
 */
const inspection = [
  'env | grep -vE "^(TRACEPARENT|CLAUDE_CODE_SESSION_ID|PWD|OLDPWD|_)=" | sort',
  'sed -E "s/^[0-9]+ [0-9]+ [0-9]+:[0-9]+//" /proc/self/mountinfo | cut -d" " -f3,4 | sort',
  'find / -xdev -mmin -120 -not -path "/proc/*" -not -path "/sys/*" -not -path "/tmp/claude-0/*" -not -name .last-cleanup -printf "%p %y %m %U:%G\\n" 2>/dev/null | sort',
  'git -C /workspace status 2>&1; ls -la /workspace | tail -n +4; ps -eo args | grep -v -e "ps -eo" -e "ba*sh" -e sort -e "grep" | sort',
].join('; ')

const bash = (command: string) => ({ tools: [{ name: 'Bash', input: { command, description: 'x' } }] })
const script = {
  name: 'warm',
  conversations: [
    { when: 'inspect', steps: [bash(inspection), { text: 'inspected' }] },
    { when: 'show the colour', steps: [bash('echo "colour=$COLOUR"'), { text: 'shown' }] },
    { when: 'tell the agent', steps: [bash('echo $PPID'), { text: 'told' }] },
    { when: 'hello', steps: [{ text: 'hello back' }] },
  ],
}

let platform: TestPlatform
beforeAll(async () => {
  platform = await TestPlatform.start([script], {}, { args: ['--warm', '2'] })
})
afterAll(() => platform.stop())

async function warmIsReady(): Promise<void> {
  while ((await platform.client.runners.list())[0]!.warm === 0) await wait(20)
}

async function allAreReady(): Promise<void> {
  while ((await platform.client.runners.list())[0]!.warm < 2) await wait(20)
}

async function startOf(options: Omit<RunOptions, 'framework'>): Promise<{ run: Run; how: string; toolOutput: string }> {
  const run = platform.client.run({ framework: 'claude-code', ...options })
  let how = ''
  let toolOutput = ''
  for await (const event of run) {
    if (event.type === 'sandbox.ready') how = event.how
    if (event.type === 'tool.finished') toolOutput = event.output
  }
  expect((await run).outcome).toBe('succeeded')
  return { run, how, toolOutput }
}

const requestWith = (prompt: string) =>
  platform.model.requests.find(({ messages }) => JSON.stringify(messages).includes(prompt))

test('a new session starts warm, and nothing of the warm-up is in its conversation or its files', async () => {
  await warmIsReady()
  const before = platform.model.requests.length
  const { run, how } = await startOf({ prompt: 'hello one' })
  expect(how).toBe('warm')
  // The warm-up itself reached no endpoint, and the conversation begins with the prompt.
  expect(platform.model.requests.length).toBe(before + 1)
  expect(JSON.stringify(requestWith('hello one'))).not.toContain(warmUpMark)
  // The CLI keeps the text of a prompt that was taken back as a note for its input line; it is in no request.
  const { stdout } = await run.session.exec(
    `grep -r '${warmUpMark}' / --exclude-dir=proc --exclude-dir=sys --exclude-dir=opt 2>/dev/null`,
  )
  for (const line of stdout.split('\n').filter(Boolean)) {
    expect(line).toMatch(/^\/root\/\.claude\/projects\/-workspace\/[0-9a-f-]{36}\.jsonl:\{"type":"last-prompt",/)
    expect(line).toContain('"rewound":true')
  }
  // What was begun warm goes on in another sandbox with its conversation.
  await run.session.close()
  expect((await run.session.run('hello later')).outcome).toBe('succeeded')
  const resumed = JSON.stringify(requestWith('hello later')!.messages)
  expect(resumed).toContain('hello one')
  expect(resumed).not.toContain(warmUpMark)
})

test('a warm sandbox looks to the agent like one that was made for it', async () => {
  await warmIsReady()
  const warm = await startOf({ prompt: 'inspect a' })
  // Another size can't come from the pool.
  const cold = await startOf({ prompt: 'inspect b', resources: { memoryMiB: 2049 } })
  expect([warm.how, cold.how]).toEqual(['warm', 'cold'])
  const neutral = (text: string): string =>
    text
      .replaceAll(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g, 'ID')
      .replaceAll(/snapshot-bash-\d+-\w+/g, 'SNAPSHOT')
      .replaceAll(/\/\d+(\.[0-9a-f]{64}\.key|\.json|\.sock)/g, '/PID$1')
      .replaceAll(/MESSAGING_TOKEN=\w+/g, 'MESSAGING_TOKEN=T')
      .replaceAll(/(cc_version=[\d.]+)\.\w+/g, '$1') // ends in a hash over the prompt
      .replaceAll(/cwd-[0-9a-f]+/g, 'cwd-X')
      .replaceAll(/backup\.\d+/g, 'backup.N')
      .replaceAll(/fswatch-probe-\w+/g, 'fswatch-probe')
      .replaceAll(/inspect [ab]/g, 'inspect')
  expect(neutral(warm.toolOutput).split('\n').toSorted()).toEqual(neutral(cold.toolOutput).split('\n').toSorted())
  const [a, b] = ['inspect a', 'inspect b'].map((prompt) => requestWith(prompt)!)
  expect(neutral(JSON.stringify(a!.system))).toEqual(neutral(JSON.stringify(b!.system)))
  expect(JSON.stringify(a!.tools)).toEqual(JSON.stringify(b!.tools))
  expect(neutral(JSON.stringify(a!.messages)).split('\\n')).toEqual(neutral(JSON.stringify(b!.messages)).split('\\n'))
})

test('workspace, environment and model bind late: the first request has the CLAUDE.md, the tools see the variables', async () => {
  const workspace = await mkdtemp(join(tmpdir(), 'vm0-warm-'))
  try {
    await writeFile(join(workspace, 'CLAUDE.md'), 'The house style is rococo.')
    await warmIsReady()
    const { how, toolOutput } = await startOf({
      prompt: 'show the colour',
      workspace,
      env: { COLOUR: 'teal' },
      model: 'claude-haiku-4-5',
    })
    expect(how).toBe('warm')
    expect(toolOutput).toContain('colour=teal')
    const request = requestWith('show the colour')!
    expect(request.model).toBe('claude-haiku-4-5')
    expect(JSON.stringify(request.messages)).toContain('rococo')
  } finally {
    await rm(workspace, { recursive: true, force: true })
  }
})

test('a session whose sandbox is gone gets the one that was made ahead, with its files and conversation', async () => {
  const first = await startOf({ prompt: 'hello before' })
  await first.run.session.files.write('/workspace/kept.txt', 'kept')
  await first.run.session.close()
  const folder = join(platform.dataDir, 'sandboxes')
  await allAreReady()
  while ((await platform.client.runners.list())[0]!.prepared === 0) await wait(20)
  const ids = await readdir(folder)
  const records = await Promise.all(ids.map((id) => readdir(join(folder, id))))
  const ahead = ids.find((_, index) => !records[index]!.some((name) => name.startsWith('agent-')))
  const run = first.run.session.run('hello after')
  const ready = []
  for await (const event of run) if (event.type === 'sandbox.ready') ready.push(event)
  expect(ready).toMatchObject([{ how: 'cold', sandboxId: ahead }])
  expect(JSON.stringify(requestWith('hello after')!.messages)).toContain('hello before')
  expect(await run.session.files.readText('/workspace/kept.txt')).toBe('kept')
  await run.session.delete()
})

test('a variable of an earlier prompt is gone when the next one does not have it', async () => {
  const { run } = await startOf({ prompt: 'show the colour', env: { COLOUR: 'red' } })
  const events = run.session.run('show the colour')
  let output = ''
  for await (const event of events) if (event.type === 'tool.finished') output = event.output
  expect(output.trim()).toBe('colour=')
})

test('what only a start can set is started anew in the warm sandbox', async () => {
  await warmIsReady()
  const { how } = await startOf({ prompt: 'hello system', systemPrompt: { append: 'Speak like a pirate.' } })
  expect(how).toBe('warm')
  expect(JSON.stringify(requestWith('hello system')!.system)).toContain('pirate')
})

test('what is asked for again has a spare of its own: its agent was started with that, and nobody waits for a start', async () => {
  const speak = (tools?: RunOptions['tools']) =>
    startOf({ prompt: 'tell the agent', systemPrompt: 'Answer like a lighthouse.', ...(tools ? { tools } : {}) })
  // The agent of the pool has the same process id in every sandbox; one that was started in its place has another.
  await warmIsReady()
  const waiting = (await startOf({ prompt: 'tell the agent' })).toolOutput
  await warmIsReady()
  const first = await speak()
  expect(first.how).toBe('warm')
  expect(first.toolOutput).not.toBe(waiting)
  for (const tools of [undefined, { deny: ['WebSearch'] }]) {
    let last = ''
    for (let runs = 0; runs < 6 && last !== waiting; runs++) {
      const { how, toolOutput, run } = await speak(tools)
      last = how === 'warm' ? toolOutput : ''
      expect(JSON.stringify(requestWith('tell the agent')!.messages)).not.toContain(warmUpMark)
      await run.session.delete()
      await allAreReady()
    }
    expect(last).toBe(waiting)
  }
  const { system, tools } = platform.model.requests.findLast(({ messages }) =>
    JSON.stringify(messages).includes('tell the agent'),
  )!
  expect(JSON.stringify(system)).toContain('lighthouse')
  expect(JSON.stringify(tools)).not.toContain('WebSearch')
})

test('the command measures an installation by runs of its own, and leaves no session behind', async () => {
  await allAreReady()
  const before = (await platform.client.sessions.list()).items.length
  const { status, stdout } = await command(platform, ['bench', '--samples', '1', '--prompt', 'hello bench', '--json'])
  expect(status).toBe(0)
  const { pool, cases } = JSON.parse(stdout)
  expect(pool).toEqual({ hit: 1, miss: 0 })
  for (const name of ['new session', 'next prompt']) {
    const ms = cases[name].map(({ p50Ms }: { p50Ms: number }) => p50Ms)
    expect(ms.length).toBe(6)
    // The stages of one run follow one another.
    expect(ms.slice(0, 5).toSorted((a: number, b: number) => a - b)).toEqual(ms.slice(0, 5))
  }
  expect((await platform.client.sessions.list()).items.length).toBe(before)
})

test('an agent that died in the pool is never handed out', async () => {
  await warmIsReady()
  for (const pid of await agentsOf(platform)) {
    try {
      process.kill(pid, 'SIGKILL')
    } catch {
      // one of a session that has ended
    }
  }
  const { how } = await startOf({ prompt: 'hello after the death' })
  expect(['cold', 'warm']).toContain(how)
  await allAreReady()
  expect((await startOf({ prompt: 'hello again' })).how).toBe('warm')
})

test('many at once: each gets a sandbox of its own, and what the pool lacks is made', async () => {
  await warmIsReady()
  const prompts = Array.from({ length: 8 }, (_, index) => `hello at once ${index}`)
  const runs = await Promise.all(prompts.map((prompt) => startOf({ prompt })))
  const ids = new Set<string>()
  for (const { run } of runs) {
    for await (const event of run) if (event.type === 'sandbox.ready') ids.add(event.sandboxId)
  }
  expect(ids.size).toBe(prompts.length)
  for (const { run } of runs) await run.session.delete()
})

/** Host pids of every agent process below the platform's sandboxes. */
async function agentsOf({ directory }: TestPlatform): Promise<number[]> {
  const sandboxes = join(directory, 'data', 'sandboxes')
  const pids: number[] = []
  for (const id of await readdir(sandboxes)) {
    for (const entry of await readdir(join(sandboxes, id))) {
      if (!entry.startsWith('agent-')) continue
      const pid = Number(await readFile(join(sandboxes, id, entry, 'pid'), 'utf8').catch(() => '0'))
      if (pid > 1) pids.push(pid)
    }
  }
  return pids
}
