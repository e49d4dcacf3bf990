package cli

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/felid-net/felid/datastore"
	"github.com/felid-net/felid/internal/config"
	"github.com/felid-net/felid/internal/controller"
)

// leaseName is the name of the lease by which controllers elect.
const leaseName = "felid-controller"

// controllerKeys are the keys of the configuration that a controller has.
var controllerKeys = slices.Concat(config.StoreKeys, []string{
	"network", "listen", "logLevel", "logFormat", "leaseNamespace", "autoHostEndpoints", "leakGracePeriod",
})

func newController(app *App) *cobra.Command {
	c := &cobra.Command{
		Use:   "controller",
		Short: "Run the cluster's controller: tiers, pools, automatic host endpoints, addresses that nobody has, reports",
		Long: `Run what the cluster needs once: it keeps the built-in tiers there, says in the status of objects what is wrong with them and where they are
in force, makes automatic host endpoints, frees addresses that nobody has any more, and hands empty blocks of addresses to nodes that need
one. Several may run: by a Lease one of them works and the others wait. Datastores without leases (local, etcd) take one controller; more do no
harm, but the same work.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := config.LoadOnly(c.Flags(), app.Env, controllerKeys...)
			if err == nil {
				err = cfg.ValidateController()
			}
			if err != nil {
				return usage(err)
			}
			return runController(c.Context(), cfg)
		},
	}
	config.Flags(c.Flags(), controllerKeys...)
	return c
}

func runController(ctx context.Context, cfg *config.Config) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	log := cfg.Logger()
	store, err := config.Open(cfg, log)
	if err != nil {
		return openError(err)
	}
	if err := mayControl(ctx, cfg, log); err != nil {
		return no(errors.Join(err, store.Close()))
	}
	service := newControllerService(cfg, store, log)
	log.Info("felid controller starts", "version", version, "name", service.Name, "datastore", cfg.Datastore)
	if err := errors.Join(service.Run(ctx), store.Close()); err != nil {
		return unreachable(err)
	}
	log.Info("felid controller ends")
	return nil
}

// newControllerService is the controller for a store: what the store can do decides what it does.
func newControllerService(cfg *config.Config, store datastore.Store, log *slog.Logger) *controller.Service {
	_, status := store.(datastore.StatusStore)
	s := &controller.Service{
		Store: store, Name: processName(), Listen: cfg.Listen, Log: log,
		Settings: controller.Settings{
			Status: status, Owner: cfg.Network == "owner", AutoHostEndpoints: cfg.AutoHostEndpoints, LeakGracePeriod: cfg.LeakGracePeriod,
		},
	}
	if leases, ok := store.(interface {
		Lease(namespace, name string) datastore.LeaseStore
	}); ok {
		s.Lease = leases.Lease(cfg.LeaseNamespace, leaseName)
	}
	if reports, ok := store.(interface{ Reports() datastore.Reports }); ok {
		s.Settings.Reports = reports.Reports()
	}
	return s
}

// processName is like that of no other process.
func processName() string {
	host, err := os.Hostname()
	if err != nil {
		host = ""
	}
	return fmt.Sprintf("%s-%s", cmp.Or(host, "felid"), rand.Text()[:8])
}
