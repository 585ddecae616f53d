export { contextPath } from './copy.js'
export { planDockerfile, type DockerfilePlan } from './plan.js'
