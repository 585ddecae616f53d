import type { RunSpec } from '@vm0/contract'
import type { Script } from '@vm0/testkit'
import type { AgentSandbox, RecordedAgent } from './agent.js'

type Step = Script['conversations'][number]['steps'][number]

/** A behaviour of the agent that the driver has to tell in events. */
export interface Scenario {
  name: string
  conversations: Record<string, Step[]>
  spec?: Partial<RunSpec> & { maxTurns?: number }
  files?: Record<string, string>
  /** The process that is recorded is the one that this returns. */
  play(launch: (resume?: string) => Promise<RecordedAgent>, sandbox: AgentSandbox): Promise<RecordedAgent>
}

const usage = { input: 100, output: 20, cacheRead: 3000, cacheWrite: 400 }
/** A model that takes its time, as real ones do: the agent tells what a request used before the next one has ended. */
const delayMs = 1000
const bash = (command: string) => ({ name: 'Bash', input: { command, description: 'x' } })

/** One prompt, or several one after the other, in one process. */
function prompts(...all: string[]): Scenario['play'] {
  return async (launch) => {
    const agent = await launch()
    for (const prompt of all) await agent.run(prompt)
    return agent
  }
}

/** A server of the Model Context Protocol with one tool, in plain JavaScript. */
const mcpServer = `
import { createInterface } from 'node:readline'
for await (const line of createInterface({ input: process.stdin })) {
  const { id, method, params } = JSON.parse(line)
  if (id === undefined) continue
  const results = {
    initialize: { protocolVersion: params?.protocolVersion, capabilities: { tools: {} }, serverInfo: { name: 'sums', version: '1' } },
    'tools/list': { tools: [{ name: 'add', description: 'Adds', inputSchema: { type: 'object' } }] },
    'tools/call': { content: [{ type: 'text', text: 'the sum is 3' }] },
  }
  console.log(JSON.stringify({ jsonrpc: '2.0', id, result: results[method] ?? {} }))
}
`

export const scenarios: Scenario[] = [
  {
    name: 'tools',
    conversations: {
      'make a file': [
        {
          thinking: 'A file first.',
          text: 'I make it. ',
          tools: [{ name: 'Write', input: { file_path: '/workspace/a.txt', content: 'one\ntwo\n' } }],
          usage,
        },
        { tools: [bash('cat a.txt; echo on the side >&2')], usage },
        { tools: [bash('echo before; exit 7')], usage },
        {
          tools: [{ name: 'Edit', input: { file_path: '/workspace/a.txt', old_string: 'two', new_string: '2' } }],
          usage,
        },
        { tools: [{ name: 'NoSuchTool', input: { a: 1 } }], usage },
        { text: 'It is made.', usage },
      ],
      'and again': [{ text: 'Nothing to do.', usage: { ...usage, input: 7 } }],
    },
    play: prompts('make a file', 'and again'),
  },
  {
    name: 'sub-agent',
    conversations: {
      'look into the cellar': [
        { text: 'It is dark. ', tools: [bash('echo nobody; exit 3')], usage },
        { text: 'Nobody is in the cellar.', usage: { ...usage, output: 33 }, delayMs },
      ],
      'is anybody there': [
        {
          text: 'I send somebody. ',
          tools: [
            {
              name: 'Agent',
              input: {
                description: 'Look downstairs',
                prompt: 'look into the cellar',
                subagent_type: 'general-purpose',
                run_in_background: true,
              },
            },
          ],
          usage,
        },
        { expect: 'Nobody is in the cellar', text: 'Nobody is there.', usage, delayMs },
      ],
    },
    play: prompts('is anybody there?'),
  },
  {
    name: 'task-list',
    conversations: {
      'plan it': [
        {
          tools: [
            { name: 'TaskCreate', input: { subject: 'Write it', description: 'x' } },
            { name: 'TaskCreate', input: { subject: 'Test it', description: 'x' } },
          ],
          usage,
        },
        { tools: [{ name: 'TaskUpdate', input: { taskId: '1', status: 'in_progress' } }], usage },
        { tools: [{ name: 'TaskUpdate', input: { taskId: '1', status: 'completed' } }], usage },
        { tools: [{ name: 'TaskUpdate', input: { taskId: '2', status: 'deleted' } }], usage },
        { tools: [{ name: 'TaskList', input: {} }], usage },
        { text: 'Planned.', usage },
      ],
    },
    spec: { tools: { allow: ['TaskCreate', 'TaskUpdate', 'TaskList'] } },
    play: prompts('plan it'),
  },
  {
    name: 'todo-write',
    conversations: {
      'note it down': [
        {
          tools: [
            { name: 'TodoWrite', input: { todos: [{ content: 'Do it', status: 'pending', activeForm: 'Doing it' }] } },
          ],
          usage,
        },
        { text: 'Planned.', usage },
      ],
    },
    spec: { model: 'claude-sonnet-4-5', env: { CLAUDE_CODE_ENABLE_TASKS: '0' }, tools: { allow: ['TodoWrite'] } },
    play: prompts('note it down'),
  },
  {
    name: 'compaction',
    conversations: {
      'remember the number': [{ text: 'I remember 42.', usage }],
      'and then': [{ text: 'It was 42.', usage }],
      'detailed summary': [{ text: '<summary>The number is 42.</summary>', usage: { ...usage, output: 9 } }],
    },
    spec: { model: 'claude-haiku-4-5' },
    play: prompts('remember the number', 'and then?', '/compact'),
  },
  {
    name: 'retries',
    conversations: {
      'try hard': [
        { text: 'First. ', tools: [bash('echo one')], usage, fault: { kind: 'status', status: 529, times: 1 } },
        {
          text: 'Words that break off. ',
          tools: [bash('echo two')],
          usage,
          fault: { kind: 'error', status: 529, times: 1, afterChunks: 6 },
        },
        { text: 'At last.', usage, fault: { kind: 'garbage', times: 1 } },
      ],
    },
    play: prompts('try hard'),
  },
  {
    name: 'api-error',
    conversations: {
      'too much': [{ fault: { kind: 'status', status: 400, message: 'the request is not to our taste' } }],
    },
    play: prompts('too much'),
  },
  {
    name: 'interrupted',
    conversations: {
      'take your time': [
        { text: 'I wait. ', tools: [bash('sleep 300')], usage },
        { text: 'never said', usage },
      ],
      'go on': [{ text: 'I go on.', usage }],
    },
    async play(launch) {
      const agent = await launch()
      await agent.run('take your time', (event) => {
        if (event.type === 'tool.started') void agent.interrupt()
      })
      await agent.run('go on')
      return agent
    },
  },
  {
    name: 'input',
    conversations: {
      'work slowly': [
        { tools: [bash('until test -e /workspace/go; do sleep 0.05; done; echo gone')], usage },
        { expect: 'gone.*also this', text: 'That too.', usage },
      ],
      'too late for this turn': [{ text: 'In a turn of its own.', usage }],
    },
    async play(launch, sandbox) {
      const agent = await launch()
      await agent.run('work slowly', (event) => {
        if (event.type === 'tool.started') void agent.input('also this').then(() => sandbox.write('/workspace/go', ''))
        // The agent is at its last words: what comes now opens another turn.
        if (event.type === 'message' && event.text === 'That too.') void agent.input('too late for this turn')
      })
      return agent
    },
  },
  {
    name: 'max-turns',
    conversations: { 'go round': [{ tools: [bash('echo round')], usage }] },
    spec: { maxTurns: 2 },
    play: prompts('go round'),
  },
  {
    name: 'hooks-and-mcp',
    conversations: {
      'use what is there': [
        { tools: [{ name: 'mcp__sums__add', input: { a: 1, b: 2 } }], usage },
        { tools: [bash('echo never runs')], usage },
        { text: 'Used.', usage },
      ],
    },
    files: {
      '/root/sums.mjs': mcpServer,
      '/root/.claude.json': JSON.stringify({
        mcpServers: {
          sums: { command: 'node', args: ['/root/sums.mjs'] },
          broken: { command: '/no/such/program' },
        },
      }),
      '/root/.claude/settings.json': JSON.stringify({
        hooks: {
          PreToolUse: [{ matcher: 'Bash', hooks: [{ type: 'command', command: 'echo not today >&2; exit 2' }] }],
          Stop: [{ hooks: [{ type: 'command', command: 'echo stopped' }] }],
        },
      }),
    },
    play: prompts('use what is there'),
  },
  {
    name: 'denied',
    conversations: {
      'only git': [
        { tools: [bash('git --version')], usage },
        { tools: [bash('touch /workspace/x')], usage },
        { text: 'Only git.', usage },
      ],
    },
    spec: { tools: { allow: ['Bash(git *)'] } },
    play: prompts('only git'),
  },
  {
    name: 'resumed',
    conversations: {
      'the word is swordfish': [{ text: 'I keep it.', usage }],
      'what was the word': [
        { expect: { messages: 'swordfish' }, text: 'Let me look. ', tools: [bash('echo swordfish')], usage },
        { text: 'swordfish', usage },
      ],
    },
    async play(launch) {
      const first = await launch()
      await first.run('the word is swordfish')
      await first.stop()
      const agent = await launch(first.sessionId)
      await agent.run('what was the word?')
      return agent
    },
  },
]
