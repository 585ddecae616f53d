import { standardTemplate, type BuildTemplateParsed, type TemplateOrigin } from '@vm0/contract'
import { planDockerfile } from './dockerfile/index.js'

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

/** What a build does, and what comes of it beside files. */
export interface BuildPlan {
  /** The template below. */
  from: string
  steps: BuildStep[]
  /** Of the template, over what the one below gives. */
  env: Record<string, string>
  /** Whether files of the folder that came along are wanted. */
  usesContext: boolean
  /** What is told before the first step. */
  notes: string[]
  origin: Omit<TemplateOrigin, 'base'>
}

/** Throws DOCKERFILE_INVALID. */
export function planBuild(recipe: BuildTemplateParsed): BuildPlan {
  const { dockerfile, buildArgs, from = standardTemplate, packages, commands, env = {} } = recipe
  if (dockerfile !== undefined) {
    const { passedOver, ...plan } = planDockerfile(dockerfile, buildArgs)
    const notes = passedOver.length > 0 ? [`${passedOver.join(', ')}: passed over, a template starts nothing`] : []
    return { ...plan, env: { ...plan.env, ...env }, notes, origin: { kind: 'dockerfile' } }
  }
  const lists = { ...(packages ? { packages } : {}), ...(commands ? { commands } : {}) }
  return { from, steps: recipeSteps(recipe), env, usesContext: false, notes: [], origin: { kind: 'recipe', ...lists } }
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
