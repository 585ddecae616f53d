import type { BuildTemplateParsed } from '@vm0/contract'

/** One command of a build, as it is carried out in the sandbox. */
export interface BuildStep {
  /** As the person wrote it. */
  text: string
  /** Of the Dockerfile, from 1. */
  line?: number
  command: string[]
  cwd: string
  env: Record<string, string>
}

const aptEnv = { DEBIAN_FRONTEND: 'noninteractive' }

/** What a list of packages and commands asks for, in order. */
export function recipeSteps({ packages = [], commands = [], env = {} }: BuildTemplateParsed): BuildStep[] {
  const steps = commands.map((text) => ({ text, command: ['sh', '-c', text], cwd: '/', env }))
  if (packages.length === 0) return steps
  // Names were checked: they are no options and nothing of a shell's.
  const install = [
    'apt-get update -q',
    `apt-get install -q -y --no-install-recommends -o Dpkg::Use-Pty=0 ${packages.join(' ')}`,
    'apt-get clean',
    'rm -rf /var/lib/apt/lists/*',
  ].join(' && ')
  const text = `apt-get install ${packages.join(' ')}`
  return [{ text, command: ['sh', '-c', install], cwd: '/', env: { ...env, ...aptEnv } }, ...steps]
}
