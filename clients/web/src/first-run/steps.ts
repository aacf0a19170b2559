// The way from an empty site to a running machine: each step, whether it is done, and the form that does it.
import { ImageFormat, ImageState, type Image } from "../api/virtyard/api/inventory/v1/image_pb";
import { RepositoryState, type Repository } from "../api/virtyard/api/inventory/v1/repository_pb";
import { ServerState, type Server } from "../api/virtyard/api/inventory/v1/server_pb";
import { ServerPoolState, type ServerPool } from "../api/virtyard/api/inventory/v1/server_pool_pb";
import { VirtualMachineState, type VirtualMachine } from "../api/virtyard/api/inventory/v1/virtual_machine_pb";
import { consolePath, runPath } from "../routes";

/** What the inventory has, as far as the steps look at it. */
export interface Inventory {
  servers: readonly Server[];
  serverPools: readonly ServerPool[];
  repositories: readonly Repository[];
  images: readonly Image[];
  virtualMachines: readonly VirtualMachine[];
}

/** A way to do a step. */
export interface Way {
  label: string;
  /** Its label where the step is done already. */
  again: string;
  path: string;
}

/** One step of the way. */
export interface Step {
  id: string;
  title: string;
  /** What it is for, in plain sentences. */
  text: string;
  /** What the inventory has of it, by name; it is done if there is any. */
  found: readonly string[];
  done: boolean;
  /** The forms that do it, filled in with what is known; none while the steps before it are open. */
  ways: readonly Way[];
  /** Whether the next steps can do without it. */
  optional: boolean;
}

/** The steps as they stand. */
export function stepsOf(inventory: Inventory): Step[] {
  const online = inventory.servers.filter((server) => server.state === ServerState.ONLINE);
  const pools = inventory.serverPools.filter((pool) => pool.state === ServerPoolState.ACTIVE);
  const repositories = inventory.repositories.filter((repository) => repository.state === RepositoryState.READY);
  const images = inventory.images.filter((image) => image.state === ImageState.READY);
  const running = inventory.virtualMachines.filter((machine) => machine.state === VirtualMachineState.RUNNING);
  const ways = [
    discoverWays(),
    poolWays(online),
    repositoryWays(pools),
    imageWays(repositories),
    machineWays(repositories, images),
    startWays(inventory.virtualMachines),
  ];
  return WORDS.map((words, index) => {
    const found = names([online, pools, repositories, images, inventory.virtualMachines, running][index]!);
    return { ...words, found, done: found.length > 0, ways: ways[index]! };
  });
}

/** The first step that is open and that the others wait for; undefined where all is done. */
export function nextStep(steps: readonly Step[]): Step | undefined {
  return steps.find((step) => !step.done && !step.optional);
}

/** Where the running machine of the last step is seen. */
export function consoleOf(inventory: Inventory): string | undefined {
  const running = inventory.virtualMachines.find((machine) => machine.state === VirtualMachineState.RUNNING);
  return running && consolePath(running.name);
}

const WORDS: readonly Pick<Step, "id" | "title" | "text" | "optional">[] = [
  {
    id: "servers",
    title: "Discover a server",
    text: "A server is a physical host that runs Virtyard's agent. Start the agent there, then discover the server by the name in its certificate and the address that the agent listens on.",
    optional: false,
  },
  {
    id: "pool",
    title: "Create a server pool",
    text: "A pool is a set of servers that run machines together. One server is enough to begin with; more can be added later.",
    optional: false,
  },
  {
    id: "repository",
    title: "Create a repository",
    text: "A repository is a folder that holds the disks of machines. It must lie under a storage root of each server of the pool, at the same path on all of them.",
    optional: false,
  },
  {
    id: "image",
    title: "Import an image to boot from",
    text: "A machine boots from an installer's ISO, from a disk image, or from a kernel file that lies on the servers. Import an image here; leave this out if you boot a kernel.",
    optional: true,
  },
  {
    id: "machine",
    title: "Create a virtual machine",
    text: "The form is filled in with a small machine: change what you like. It boots the image that you imported; without one, name a kernel and its initrd under Boot, both on paths that every server has.",
    optional: false,
  },
  {
    id: "start",
    title: "Start it",
    text: "Virtyard chooses the server with the most room. Then open its console to see the screen and the serial log.",
    optional: false,
  },
];

function names(objects: readonly { name: string }[]): string[] {
  return objects.map((object) => object.name);
}

function discoverWays(): Way[] {
  return [{ label: "Discover a server", again: "Discover another server", path: runPath("DiscoverServer", { server_id: "s1" }) }];
}

function poolWays(online: readonly Server[]): Way[] {
  const free = online.filter((server) => !server.serverPool);
  if (free.length === 0) return [];
  const servers = names(free).join(",");
  return [{ label: "Create a server pool", again: "Create another pool", path: runPath("CreateServerPool", { server_pool_id: "pool1", servers }) }];
}

function repositoryWays(pools: readonly ServerPool[]): Way[] {
  if (pools.length === 0) return [];
  const fields = { repository_id: "disks", server_pool: pools[0]!.name };
  return [{ label: "Create a repository", again: "Create another repository", path: runPath("CreateRepository", fields) }];
}

function imageWays(repositories: readonly Repository[]): Way[] {
  if (repositories.length === 0) return [];
  // What most people have is a file on their own computer.
  const common = { repository: repositories[0]!.name, upload: "" };
  return [
    {
      label: "Import an ISO",
      again: "Import another ISO",
      path: runPath("ImportImage", { ...common, image_id: "installer", format: "iso" }),
    },
    {
      label: "Import a disk image",
      again: "Import another disk image",
      path: runPath("ImportImage", { ...common, image_id: "system", format: "disk" }),
    },
  ];
}

function machineWays(repositories: readonly Repository[], images: readonly Image[]): Way[] {
  const repository = repositories[0];
  if (!repository) return [];
  const common = {
    virtual_machine_id: "first",
    server_pool: repository.serverPool,
    memory_bytes: "512M",
    cpus: "1",
    "vnics[0].network": "user",
    "disks[0].repository": repository.name,
  };
  const disk = images.find((image) => image.format === ImageFormat.DISK);
  const iso = images.find((image) => image.format === ImageFormat.ISO);
  const boots: Record<string, string> = disk ? { "disks[0].image": disk.name } : { "disks[0].size_bytes": "4G", ...(iso && { cdrom: iso.name }) };
  return [{ label: "Create a virtual machine", again: "Create another machine", path: runPath("CreateVirtualMachine", { ...common, ...boots }) }];
}

function startWays(machines: readonly VirtualMachine[]): Way[] {
  const stopped = machines.find((machine) => machine.state === VirtualMachineState.STOPPED);
  if (!stopped) return [];
  const label = `Start ${stopped.displayName || stopped.name}`;
  return [{ label, again: label, path: runPath("StartVirtualMachine", { object: stopped.name }) }];
}
