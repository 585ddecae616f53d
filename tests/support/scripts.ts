import type { Script } from '@vm0/testkit'

const bash = (command: string) => [{ name: 'Bash', input: { command, description: 'x' } }]

/** What the tests' prompts make the agent do. */
export const workScript: Script = {
  name: 'work',
  conversations: [
    { when: 'hang', steps: [{ fault: { kind: 'hang' } }] },
    { when: 'append (\\w+)', steps: [{ tools: bash('echo line >> /workspace/lines.txt') }, { text: 'appended' }] },
    { when: 'ignore the end', steps: [{ tools: bash("trap '' INT TERM; sleep 120") }, { text: 'slept' }] },
    { when: 'take a while', steps: [{ tools: bash('sleep 3; echo done') }, { text: 'it took a while' }] },
    { when: 'answer', steps: [{ text: 'forty-two' }] },
  ],
}
