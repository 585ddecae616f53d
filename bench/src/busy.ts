import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { startScriptedModel } from '@vm0/testkit'
import type { Run } from 'vm0'
import { startPlatform } from './local-platform.js'
import { cpuOfPlatform } from './platform-cpu.js'
import { cpuOfSandboxes } from './sandbox-use.js'
import { median } from './statistics.js'

/**
 * Real agents that are busy, on a real `vm0 up`: VM0's own CPU beside theirs while a command works; whether anything is lost of an
 * answer that comes in many small pieces, and of a command that prints very much; how soon it is known that memory was used up.
 */
const words = Number(process.argv[2] ?? 20_000)
const megabytes = Number(process.argv[3] ?? 200)
const rounds = Number(process.argv[4] ?? 5)
const workS = 15

const bash = (command: string) => ({ tools: [{ name: 'Bash', input: { command, description: 'x' } }] })
const answer = Array.from({ length: words }, (_, index) => `w${index}`).join(' ')
const build = `end=$((SECONDS + ${workS})); while [ $SECONDS -lt $end ]; do sh -c 'seq 20000 | sort -R | md5sum; sleep 0.05' >>log; done`
const grow = 'kept = []\nwhile True: kept.append(bytearray(b"x" * (4 << 20)))'
const model = await startScriptedModel([
  {
    name: 'busy',
    conversations: [
      { when: '^work', steps: [bash(build), { text: 'done' }] },
      { when: '^talk', steps: [{ text: answer }] },
      { when: '^print', steps: [bash(`yes 0123456789abcde | head -c ${megabytes}M`), { text: 'printed' }] },
      { when: '^grow', steps: [bash(`python3 -c '${grow}'`), { text: 'told' }] },
    ],
  },
])
const platform = await startPlatform(model.url, ['--warm', '0'])
const { client, dataDir } = platform

interface Cost {
  seconds: number
  /** Of one core, in percent. */
  vm0: number
}
async function costOf(what: () => Promise<unknown>): Promise<Cost> {
  const [before, startedMs] = [await cpuOfPlatform(dataDir), performance.now()]
  await what()
  const passedMs = performance.now() - startedMs
  return { seconds: passedMs / 1000, vm0: (((await cpuOfPlatform(dataDir)) - before) / passedMs) * 100 }
}

async function working(): Promise<void> {
  const run = client.run({ prompt: 'work' })
  for await (const event of run) if (event.type === 'tool.started') break
  await wait(1_000)
  let sandbox = 0
  const { vm0 } = await costOf(async () => (sandbox = await cpuOfSandboxes(dataDir, (workS - 4) * 1000)))
  await run.result()
  console.log(`a command at work: VM0 ${vm0.toFixed(1)}% of a core, its sandbox ${sandbox.toFixed(0)}%`)
}

async function talking(): Promise<void> {
  const run = client.run({ prompt: 'talk' })
  let [text, pieces, firstMs, lastMs] = ['', 0, Infinity, 0]
  const { vm0 } = await costOf(async () => {
    for await (const event of run) {
      if (event.type !== 'message.delta') continue
      text += event.text
      pieces += 1
      const atMs = Date.parse(event.time)
      firstMs = Math.min(firstMs, atMs)
      lastMs = Math.max(lastMs, atMs)
    }
  })
  const { text: whole } = await run.result()
  const perSecond = (pieces / Math.max(1, lastMs - firstMs)) * 1000
  const lost = text === answer && whole === answer ? 'nothing lost' : 'LOST'
  console.log(
    `an answer of ${words} words: ${pieces} events, ${perSecond.toFixed(0)} a second as the agent wrote them, ${lost}; VM0 ${vm0.toFixed(0)}% of a core meanwhile`,
  )
}

async function printing(): Promise<void> {
  const run = client.run({ prompt: 'print' })
  const { seconds, vm0 } = await costOf(() => run.result())
  const { outcome } = await run.result()
  const trace = await run.trace()
  const tool = trace.spans.find(({ kind }) => kind === 'tool')
  console.log(
    `a command that prints ${megabytes} MB: ${outcome} after ${seconds.toFixed(1)} s; the agent hands ${String(tool?.attributes['vm0.tool.output.chars'])} characters of it on; VM0 ${vm0.toFixed(0)}% of a core`,
  )
}

/** From the moment at which the kernel says that processes wait for memory; undefined where it isn't told so (cgroup v2). */
async function heldAt(run: Run): Promise<number | undefined> {
  let id = ''
  for await (const event of run) {
    if (event.type === 'sandbox.ready') id = event.sandboxId
    if (event.type === 'tool.started') break
  }
  const installation = readFileSync(join(dataDir, 'installation'), 'utf8').trim()
  const file = `/sys/fs/cgroup/memory/vm0/${installation}/${id}/memory.oom_control`
  try {
    while (!readFileSync(file, 'utf8').includes('under_oom 1')) await wait(1)
    return Date.now()
  } catch {
    return undefined
  }
}

async function dying(): Promise<void> {
  const taken: number[] = []
  for (let round = 0; round < rounds; round += 1) {
    const run = client.run({ prompt: 'grow', resources: { memoryMiB: 768 }, onOutOfMemory: 'stop' })
    const known = (async () => {
      for await (const event of run.events()) if (event.type === 'sandbox.out_of_memory') return Date.now()
      return undefined
    })()
    const [fromMs, toMs] = await Promise.all([heldAt(run), known])
    await run.result()
    const { reason } = await run.why()
    if (reason !== 'out_of_memory' || toMs === undefined) throw new Error(`it was not told: ${reason}`)
    if (fromMs !== undefined) taken.push(Math.max(0, toMs - fromMs))
    await run.session.delete()
  }
  if (taken.length === 0) console.log('memory used up: told each time; from when on it is not known on this kernel')
  else
    console.log(
      `memory used up, from the kernel's word to the client's event: ${median(taken).toFixed(0)} ms (at most ${Math.max(...taken)}), ${taken.length} of ${rounds}`,
    )
}

try {
  await working()
  await talking()
  await printing()
  await dying()
} finally {
  await platform.close()
  await model.close()
}
