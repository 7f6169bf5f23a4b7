/** The parts of Docker's answers that the commands show (Engine API v1.50). */
export interface ServiceAnswer {
  readonly ID: string
  readonly Version: { readonly Index: number }
  readonly CreatedAt: string
  readonly UpdatedAt: string
  readonly Spec: {
    readonly Name: string
    readonly Labels?: Readonly<Record<string, string>>
    readonly Mode?: { readonly Replicated?: { readonly Replicas?: number }; readonly Global?: object }
    readonly TaskTemplate?: { readonly ContainerSpec?: { readonly Image?: string } }
    readonly EndpointSpec?: { readonly Ports?: readonly PortAnswer[] }
  }
  readonly UpdateStatus?: { readonly State?: string; readonly Message?: string }
  readonly ServiceStatus?: {
    readonly RunningTasks: number
    readonly DesiredTasks: number
    readonly CompletedTasks: number
  }
}
export interface PortAnswer {
  readonly Protocol?: string
  readonly TargetPort?: number
  readonly PublishedPort?: number
  readonly PublishMode?: string
}
export interface TaskAnswer {
  readonly ID: string
  readonly ServiceID: string
  readonly Slot?: number
  readonly NodeID?: string
  readonly DesiredState: string
  readonly Spec?: { readonly ContainerSpec?: { readonly Image?: string } }
  readonly Status: {
    readonly State: string
    readonly Timestamp: string
    readonly Message?: string
    readonly Err?: string
  }
}
export interface NodeAnswer {
  readonly ID: string
  readonly Version: { readonly Index: number }
  readonly Spec: {
    readonly Name?: string
    readonly Role: string
    readonly Availability: string
    readonly Labels?: Readonly<Record<string, string>>
  }
  readonly Description?: { readonly Hostname?: string; readonly Engine?: { readonly EngineVersion?: string } }
  readonly Status: { readonly State: string; readonly Message?: string; readonly Addr?: string }
}
