import { readFileSync, writeFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { describeEvents, type Entry } from '../packages/frameworks/src/claude-code/fixtures/recording.js'
import { ClaudeProtocol } from '../packages/frameworks/src/claude-code/protocol.js'
import { AgentHost } from './support/agent.js'
import { scenarios } from './support/agent-scenarios.js'

/**
 * The real agent, in a real sandbox, gives the events that the driver's fixtures were recorded with. With VM0_RECORD=1 the
 * recordings are made anew: for another release of the agent.
 */
const fixtures = new URL('../packages/frameworks/src/claude-code/fixtures/', import.meta.url)

let host: AgentHost
beforeAll(async () => {
  const scripts = scenarios.map(({ name, conversations }) => ({
    name,
    conversations: Object.entries(conversations).map(([when, steps]) => ({ when, steps })),
  }))
  host = await AgentHost.start(scripts)
})
afterAll(() => host?.close())

test.each(scenarios.map((scenario) => [scenario.name, scenario] as const))('%s', async (name, scenario) => {
  const sandbox = await host.sandbox()
  try {
    for (const [path, content] of Object.entries(scenario.files ?? {})) await sandbox.write(path, content)
    const agent = await scenario.play((resume) => sandbox.launch(scenario.spec, resume), sandbox)
    if (process.env.VM0_RECORD) record(name, agent.recording)
    else {
      const expected = readFileSync(new URL(`${name}.events.txt`, fixtures), 'utf8')
        .trimEnd()
        .split('\n')
      expect(inAnyOrder(describeEvents(agent.events))).toEqual(inAnyOrder(expected))
    }
    expect(host.model.failures).toEqual([])
  } finally {
    await sandbox.close()
  }
})

test('of a line of 100 MB the head is kept, marked where it is cut, and the next one is whole', async () => {
  const sandbox = await host.sandbox()
  try {
    const lines = await sandbox.linesOf(
      `head -c 100000000 /dev/zero | tr '\\0' x; printf '\\n{"type":"keep_alive"}\\n'`,
    )
    expect(lines.map((line) => line.length)).toEqual([expect.any(Number), 21])
    expect(lines[0]!.length).toBeLessThan(33 * 1024 ** 2)
    const protocol = new ClaudeProtocol({ resumed: false })
    const [raw, ...rest] = lines.flatMap((line) => protocol.translate(line, 0).events)
    expect(rest).toEqual([])
    expect(raw).toMatchObject({
      type: 'raw',
      truncated: true,
      data: expect.stringMatching(/^x+…\[\d+ characters cut\]…x+…\[\d+ bytes cut\]$/),
    })
    expect(JSON.stringify(raw).length).toBeLessThan(70_000)
  } finally {
    await sandbox.close()
  }
})

/**
 * What is at work at the same time may overtake each other, and is numbered in another way then. How the tokens of a turn
 * fall on its requests depends on when the agent counts them: what they add up to doesn't.
 */
function inAnyOrder(lines: string[]): string[] {
  const isStep = (line: string): boolean => line.startsWith('usage scope="step"')
  const totals = new Map<string, number>()
  for (const line of lines.filter(isStep))
    for (const [, name, value] of line.matchAll(/(\w+(?:Tokens|Usd))=([\d.e-]+)/g))
      totals.set(name as string, Number(((totals.get(name as string) ?? 0) + Number(value)).toFixed(9)))
  const others = lines.filter((line) => !isStep(line)).map((line) => line.replaceAll(/#\d+/g, '#'))
  return [...others, ...[...totals].map(([name, value]) => `all steps ${name} ${value}`)].toSorted()
}

function record(name: string, recording: readonly Entry[]): void {
  const text = recording.map((entry) => `${JSON.stringify(entry)}\n`).join('')
  writeFileSync(new URL(`${name}.ndjson`, fixtures), text)
}
