import { createHash } from 'node:crypto'
import { Vm0Error } from '@vm0/contract'
import { buildScript } from './build-script.js'

/** Everything that decides what is in the standard template. A change of any of it gives another hash, and so a new build. */
export interface Recipe {
  suite: string
  debianPackages: readonly string[]
  /** npm package that carries the Node binary for this architecture, with its version range. */
  nodePackage: string
  npmPackage: string
  script: string
}

const debianPackages = [
  'build-essential',
  'ca-certificates',
  'curl',
  'git',
  'jq',
  'less',
  'openssh-client',
  'procps',
  'python3',
  'python3-pip',
  'python3-venv',
  'ripgrep',
  'unzip',
  'xz-utils',
  'zstd',
]

export function standardRecipe(arch: string = process.arch): Recipe {
  if (arch !== 'x64' && arch !== 'arm64') {
    throw new Vm0Error('TEMPLATE_BUILD_FAILED', `No template can be built on ${arch}: expected an x64 or arm64 host.`, {
      retryable: false,
    })
  }
  return {
    suite: 'bookworm',
    debianPackages,
    nodePackage: `node-linux-${arch}@24`,
    npmPackage: 'npm@11',
    script: buildScript,
  }
}

/** Hex sha256 over the recipe. */
export function recipeHash(recipe: Recipe): string {
  const inputs = [recipe.suite, recipe.debianPackages, recipe.nodePackage, recipe.npmPackage, recipe.script]
  return createHash('sha256').update(JSON.stringify(inputs)).digest('hex')
}
