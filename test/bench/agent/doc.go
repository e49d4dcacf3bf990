// Command agent measures the whole agent on the workloads of package workload, as processes on a real kernel: cold start, restart
// with the kernel already right, label changes, single events, idling, churn, CNI ADD and DEL. It makes its own network namespaces, keeps the store,
// a directory or a real etcd, on tmpfs, and prints one line per figure beside its bar and what Calico's agent was measured to need. It removes what it made,
// interrupted or not. Root and Linux.
//
// Wall times depend on what else the machine does; the load is printed with them. CPU times are the agent's and those of all
// programs it ran: neither the bench's, which writes what the agent follows, nor etcd's. The lag of churn is from when the store had accepted a write.
package main
